package lab

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The elements of a JUnit report, as the JUnit XML format of Jenkins and GitLab has them.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
		Output   junitText   `xml:"system-out"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		ClassName string        `xml:"classname,attr"`
		File      string        `xml:"file,attr"`
		Line      int           `xml:"line,attr"`
		Time      string        `xml:"time,attr"`
		Failure   *junitFailure `xml:"failure"`
		Skipped   *struct{}     `xml:"skipped"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",cdata"`
	}
	junitText struct {
		Text string `xml:",cdata"`
	}
)

// WriteJUnit writes results as a JUnit XML document, which graders and CI systems read.
func WriteJUnit(w io.Writer, results []Result, sum Summary) error {
	suite := junitSuite{Name: sum.Lab, Tests: sum.Total, Failures: sum.Failed, Skipped: sum.Skipped, Time: seconds(sum.Elapsed)}
	var out strings.Builder
	printSummary(&out, sum)
	suite.Output.Text = out.String()
	for i := range results {
		suite.Cases = append(suite.Cases, results[i].junit(sum.Lab))
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	doc := junitSuites{Tests: sum.Total, Failures: sum.Failed, Skipped: sum.Skipped, Time: suite.Time, Suites: []junitSuite{suite}}
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

func (r *Result) junit(lab string) junitCase {
	c := junitCase{Name: r.title(), ClassName: lab, File: r.Pos.File, Line: r.Pos.Line, Time: seconds(r.Elapsed)}
	if r.Single && r.Name == "" {
		c.Name = r.Steps[0].Text
	}
	switch r.Status {
	case Failed:
		c.Failure = r.failure()
	case Skipped:
		c.Skipped = &struct{}{}
	}
	return c
}

// failure has the first problem as its message, and all of the test's output as its text.
func (r *Result) failure() *junitFailure {
	var problems []string
	for _, s := range r.Steps {
		problems = append(problems, s.Problems...)
	}
	problems = append(problems, r.Problems...)
	var text strings.Builder
	printResults(&text, []Result{*r})
	return &junitFailure{Message: firstOf(problems), Text: text.String()}
}

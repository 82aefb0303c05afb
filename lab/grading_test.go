package lab

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const exercise = "../examples/vpc-from-scratch/"

// graded gives a student's file with the tests that students do not see.
func graded(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("start.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(exercise + "grading/tests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if f, err = f.WithTests("tests.yaml", tests); err != nil {
		t.Fatal(err)
	}
	return f
}

// failed says whether a test whose name begins so is printed as failed.
func failed(out, name string) bool {
	return regexp.MustCompile(`(?m)^FAIL .*  ` + regexp.QuoteMeta(name)).MatchString(out)
}

func text(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestExercise: by AWS's text, what students get fails in each task, and the solution passes and uses every rule it has.
func TestExercise(t *testing.T) {
	start, sum := onPaper(t, graded(t, text(t, exercise+"start.yaml")))
	if sum.Passed == 0 || sum.Failed < 10 {
		t.Errorf("the start passes too much, or nothing:\n%s", start)
	}
	for _, task := range []string{"1", "2", "3", "4"} {
		if !failed(start, task+" ") {
			t.Errorf("the start fails in nothing of task %s:\n%s", task, start)
		}
	}
	done, sum := onPaper(t, graded(t, text(t, exercise+"grading/solution.yaml")))
	if sum.Failed > 0 || sum.Passed != sum.Total || sum.RulesUsed != sum.Rules {
		t.Errorf("the solution:\n%s", done)
	}
	both := func(f *File) (out []string) {
		for _, i := range f.Instances {
			out = append(out, i.Name)
		}
		for _, g := range f.Groups {
			out = append(out, g.Name)
		}
		slices.Sort(out)
		return out
	}
	if s, d := both(parseFile(t, exercise+"start.yaml")), both(parseFile(t, exercise+"grading/solution.yaml")); !slices.Equal(s, d) {
		t.Errorf("the start has %v, the solution %v", s, d)
	}
}

// TestExerciseNoticesMistakes: each of what students do wrong costs at least one test, and one that names its task.
func TestExerciseNoticesMistakes(t *testing.T) {
	solution := text(t, exercise+"grading/solution.yaml")
	for name, c := range map[string]struct{ from, to, fails string }{
		"no http":                        {"http from anywhere, ", "", "2 anybody may read"},
		"http from the subnet only":      {"http from anywhere", "http from 10.30.2.0/24", "2 anybody may read"},
		"all from anywhere":              {"http from anywhere", "all from anywhere", "3 web's pages are all"},
		"api by range":                   {"tcp 8080 from web", "tcp 8080 from 10.30.1.0/24", "3 a neighbour of web"},
		"api by one address":             {"tcp 8080 from web", "tcp 8080 from 10.30.1.10/32", "2 so does the second"},
		"api from anywhere":              {"tcp 8080 from web", "tcp 8080 from anywhere", "3 anybody does not reach api"},
		"database from web too":          {"postgres from api", "postgres from api, postgres from web", "3 web does not reach"},
		"database from the private side": {"postgres from api", "all tcp from api", "3 api reaches nothing else"},
		"database by range":              {"postgres from api", "postgres from 10.30.0.0/16", "3 web does not reach"},
		"database speaks":                {", egress: [] }", " }", "3 the database begins nothing"},
		"database may ping":              {"egress: []", "egress: [ping to anywhere]", "3 not even a ping"},
		"no ssh to the database":         {"postgres from api, ssh from admin", "postgres from api", "4 and to the database"},
		"ping from all":                  {"postgres from api, ssh from admin, ping from admin", "postgres from api, ssh from admin, ping from anywhere", "4 nobody else pings"},
		"admin open":                     {"admin: {}", "admin: { ingress: [ssh from anywhere] }", "4 nobody logs in to admin"},
		"db in the wrong subnet":         {"subnet: data,    ip: 10.30.3.10", "subnet: private, ip: 10.30.2.99", "1 db-1 is at"},
	} {
		changed := strings.Replace(solution, c.from, c.to, 1)
		if changed == solution {
			t.Errorf("%s: %q is not in the solution", name, c.from)
			continue
		}
		if out, sum := onPaper(t, graded(t, changed)); sum.Failed == 0 || !failed(out, c.fails) {
			t.Errorf("%s: no failure that begins with %q:\n%s", name, c.fails, out)
		}
	}
}

package agent

import "time"

// File is a lab or tests file as the client read it. The agent never opens a path that a client names.
type File struct {
	Name string `json:"name"` // as the person typed it: it stands in errors
	// Path is the file's own, absolute and without symbolic links: two files of one lab's name are told apart by it. ""
	// is what has none, as standard input.
	Path string `json:"path,omitempty"`
	Data []byte `json:"data"`
}

// ApplyRequest makes a lab be as its file says.
type ApplyRequest struct {
	File   File   `json:"file"`
	Driver string `json:"driver,omitempty"` // "auto", "netns", "netstack"; "" keeps the agent's own
	DryRun bool   `json:"dry_run,omitempty"`
	// Adopt lets the file take over a lab of its name that another file was applied to. Without it that is OtherFile.
	Adopt bool `json:"adopt,omitempty"`
}

// ApplyResult says what was, or with DryRun would be, changed. Without DryRun it comes when the revision is applied
// and every instance runs.
type ApplyResult struct {
	Lab       string        `json:"lab"`
	About     string        `json:"about,omitempty"`
	Revision  uint64        `json:"revision"`
	DryRun    bool          `json:"dry_run,omitempty"`
	Changes   []Change      `json:"changes"` // in the order in which they are made; empty if nothing was to do
	Warnings  []Problem     `json:"warnings,omitempty"`
	Instances []InstanceRow `json:"instances"`
	Tests     int           `json:"tests"` // how many the file has
}

// Change is one line of a plan.
type Change struct {
	Action string   `json:"action"` // "add", "change", "remove"
	Kind   string   `json:"kind"`   // "vpc", "subnet", "security-group", "rule", "instance", ...
	Name   string   `json:"name"`
	ID     string   `json:"id,omitempty"`
	Detail string   `json:"detail,omitempty"` // "10.0.1.0/24", "tcp 8080 from web"
	Fields []string `json:"fields,omitempty"` // what changes: "groups: web -> web, app"
	Where  string   `json:"where,omitempty"`  // file and line
}

// DownRequest takes labs away.
type DownRequest struct {
	Lab string `json:"lab,omitempty"` // "" means all, and then the agent ends (unless Keep)
	// Keep leaves the agent running although nothing is left.
	Keep bool `json:"keep,omitempty"`
}

// DownResult says what was taken away.
type DownResult struct {
	Labs    []string `json:"labs"`
	Changes []Change `json:"changes"`
	// Stopping is set when the agent ends after this answer.
	Stopping bool `json:"stopping"`
	PID      int  `json:"pid"` // the agent's
}

// TestRequest runs tests with real packets.
type TestRequest struct {
	File  File  `json:"file"`            // the lab's file; it must be up as the file says
	Tests *File `json:"tests,omitempty"` // instead of the tests in File
	// JUnit asks for TestSummary.JUnit.
	JUnit bool `json:"junit,omitempty"`
}

// Statuses of a test.
const (
	TestOK   = "ok"
	TestFail = "FAIL"
	TestWarn = "warn"
	TestSkip = "skip"
)

// TestResult is one test, sent when it has ended.
type TestResult struct {
	Number      int       `json:"number"` // from 1
	Name        string    `json:"name"`   // as written; "" for a check without a name
	Status      string    `json:"status"`
	Source      *Endpoint `json:"source,omitempty"` // of a single check
	Destination *Endpoint `json:"destination,omitempty"`
	Protocol    string    `json:"protocol,omitempty"`
	Verdict     string    `json:"verdict,omitempty"`
	// Because is what decided, as a test's `because` is matched against it: "db ingress: no rule".
	Because string      `json:"because,omitempty"`
	Where   string      `json:"where,omitempty"` // of the deciding rule, or of the test where none is
	Steps   []StepCheck `json:"steps,omitempty"` // of a test with steps
	// Problems says what was expected and what came instead, and where the expectation stands. Empty if ok.
	Problems []Problem   `json:"problems,omitempty"`
	Records  []RecordRef `json:"records,omitempty"`
	Elapsed  Seconds     `json:"elapsed_seconds"`
}

// StepCheck is one step of a test with steps.
type StepCheck struct {
	Text    string `json:"text"` // "open c1 web-1 -> app-1:8080"
	Status  string `json:"status"`
	Verdict string `json:"verdict,omitempty"`
	Because string `json:"because,omitempty"`
	Where   string `json:"where,omitempty"`
}

// TestSummary ends a test run.
type TestSummary struct {
	Lab       string    `json:"lab"`
	Total     int       `json:"total"`
	Passed    int       `json:"passed"`
	Failed    int       `json:"failed"`
	Warnings  int       `json:"warnings"` // tests with a warning, and other warnings the lab gives
	Skipped   int       `json:"skipped"`
	Elapsed   Seconds   `json:"elapsed_seconds"`
	RulesUsed int       `json:"rules_used"`
	Rules     int       `json:"rules"`
	Unused    []RuleRef `json:"unused,omitempty"` // rules that no test used
	// Since is the wall time at which the run began: the flow records it caused are not older.
	Since time.Time `json:"since"`
	JUnit string    `json:"junit,omitempty"` // the whole XML document, if asked for
}

// Validation is what can be said of a lab file without running it.
type Validation struct {
	Name      string    `json:"name"` // of the file
	Lab       string    `json:"lab"`
	VPCs      int       `json:"vpcs"`
	Subnets   int       `json:"subnets"`
	Groups    int       `json:"security_groups"`
	Rules     int       `json:"rules"`
	Instances int       `json:"instances"`
	Tests     int       `json:"tests"`
	Warnings  []Problem `json:"warnings,omitempty"`
}

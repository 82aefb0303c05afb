package agent

import (
	"context"
	"io"
	"syscall"
)

// Backend is what an agent can do; the server turns requests into calls of it.
//
// Methods are called concurrently. ctx ends when the client goes away or the server shuts down; a method then returns
// soon (its error is not seen by anyone). Errors that a person should see are an *Error, a *vpc.Error or an error
// that wraps one; any other error is sent with the code InternalError and its text. Callbacks are called from the
// method's own goroutine or one at a time, never after the method has returned; when one returns an error the client
// is gone, and the method returns.
type Backend interface {
	// Status gives the agent, its labs and its instances, sorted by lab and name.
	Status(ctx context.Context) (*Status, error)
	// Names gives the names of objects, sorted.
	Names(ctx context.Context, r *NamesRequest) ([]Name, error)
	// Show gives one object. A name that nobody has is UnknownObject with near matches; one that several have is
	// AmbiguousObject with the ways to say which.
	Show(ctx context.Context, r *ShowRequest) (*ShowResult, error)

	// Apply parses the file and makes the lab so, in one revision. An invalid file is InvalidLab with all its Problems
	// and changes nothing.
	Apply(ctx context.Context, r *ApplyRequest, progress func(*Progress)) (*ApplyResult, error)
	// Down takes a lab or all of them away and publishes the flow logs. When the result says Stopping, the server's owner ends the agent
	// after the answer has been sent.
	Down(ctx context.Context, r *DownRequest, progress func(*Progress)) (*DownResult, error)
	// Test runs tests one after the other; report gets each result as it comes.
	Test(ctx context.Context, r *TestRequest, report func(*TestResult) error) (*TestSummary, error)

	// Probe sends real packets.
	Probe(ctx context.Context, r *ProbeRequest) (*ProbeResult, error)
	// Explain runs the pipeline with its trace on; nothing is sent, counted, kept or logged.
	Explain(ctx context.Context, r *ExplainRequest) (*Explanation, error)
	// Authorize adds a rule; it holds for every frame sent after the return.
	Authorize(ctx context.Context, r *RuleRequest) (*RuleResult, error)
	// Revoke removes a rule; tracked connections live on.
	Revoke(ctx context.Context, r *RuleRequest) (*RuleResult, error)

	// Flows emits records oldest first, then, if asked to follow, new ones until ctx ends.
	Flows(ctx context.Context, r *FlowsRequest, emit func(*FlowEvent) error) error
	// Conntrack gives the halves of the flow table, those of one flow next to each other.
	Conntrack(ctx context.Context, r *ConntrackRequest) ([]ConntrackRow, error)
	// FlowLogFiles gives the published files, oldest first.
	FlowLogFiles(ctx context.Context, r *FlowLogsRequest) ([]FlowLogFile, error)
	// FlowLogRead emits the lines of published files.
	FlowLogRead(ctx context.Context, r *FlowLogReadRequest, emit func(*FlowLogLine) error) error

	// ExecTarget says how a client runs a program on an instance.
	ExecTarget(ctx context.Context, r *ExecRequest) (*ExecTarget, error)
	// Exec runs a built-in program in the agent. ctx is cancelled when the client is interrupted or gone. An error means that the
	// program could not be run at all; otherwise exit is its status.
	Exec(ctx context.Context, r *ExecRequest, s Streams) (exit int, err error)

	// Attach makes a device of another program an instance; it runs when the answer comes. A device that is refused leaves
	// nothing behind.
	Attach(ctx context.Context, r *AttachRequest) (*AttachResult, error)
	// Detach undoes Attach; an instance that a lab file has is refused.
	Detach(ctx context.Context, r *DetachRequest) (*DetachResult, error)

	// Power starts, stops or restarts one instance. What is so already is no error.
	Power(ctx context.Context, r *PowerRequest) (*InstanceRow, error)
	// Console joins the streams to an instance's console until Stdin or ctx ends, neither of which is an error, or the instance does.
	Console(ctx context.Context, r *ConsoleRequest, s Streams) error
}

// Streams are a program's standard streams. Stdin gives io.EOF when the client closed its own.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Signals        <-chan syscall.Signal // for a program of the host; nil: none
}

package lab

import (
	"context"
	"net/netip"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

// World is a running lab as its tests see it. All names are those of the lab file.
//
// Run calls one method at a time. A method returns early with ctx's error when ctx ends. Any other error means that
// the thing asked for could not be done at all (no such instance, an agent without the driver): the test fails with
// its text. That packets were rejected or lost is no error but an Observation.
type World interface {
	// Probe sends real packets for one new flow, waits for what comes of them, and ends the flow: one TCP connection,
	// one UDP datagram or one echo request, and what the far end answers. A later probe may have the same FromPort.
	Probe(ctx context.Context, t Traffic) (*Observation, error)

	// Open is Probe with a flow that stays open under a name of the test's choice until Close.
	// A flow that could not be opened (Rejected, Lost, ...) leaves nothing behind.
	Open(ctx context.Context, conn string, t Traffic) (*Observation, error)
	// Send sends one more message over an open flow and waits for the echo of it. The observation covers this message
	// only: Records are those whose packet count it raised.
	Send(ctx context.Context, conn string) (*Observation, error)
	// Close ends an open flow and waits until its last packets were judged. It succeeds also if they were rejected.
	Close(ctx context.Context, conn string) error

	// Authorize adds a rule, Revoke removes one; both hold for the first frame sent after the return. undo takes the
	// change back: the rule comes back with its id, words and place. It is called at most once, in reverse order of
	// the edits, before the next test, also after a failure and with a context that outlives a cancelled run.
	Authorize(ctx context.Context, e Edit) (undo func(context.Context) error, err error)
	Revoke(ctx context.Context, e Edit) (undo func(context.Context) error, err error)

	// Now and Wait are the lab's clock.
	Now() time.Time
	Wait(ctx context.Context, d time.Duration) error
}

// Traffic is one flow to try.
type Traffic struct {
	From     string // instance
	FromPort uint16 // source port; 0: an ephemeral one
	To       Target
}

// Edit is a change of a group's rules, as a test step writes it.
type Edit struct {
	Group     string // name of a security group of the lab
	Rule      string // "tcp 8080 from web"
	Direction vpc.Direction
	Where     string // "lab.yaml:30"
}

// Outcome is what came of the packets, as the sender saw it.
type Outcome string

// Outcomes. Answered and Refused reached the far end.
const (
	Answered Outcome = "answered" // the far end took the packets and answered
	Refused  Outcome = "refused"  // the packets arrived; the host itself said no (RST, port unreachable)
	Rejected Outcome = "rejected" // a security group said no, here or at the far end, to the packets or to the answer
	Dropped  Outcome = "dropped"  // not forwarded, but for no rule: no route, spoofed, table full
	Lost     Outcome = "lost"     // no rule said no, but no answer came in time
)

// Observation is what came of one Probe, Open or Send.
type Observation struct {
	Outcome Outcome
	Detail  string // a few words for people where Outcome is not Answered: "no answer in 1 s", "no route"
	// Source and Destination are the addresses and ports the packets had (port: 0 for ICMP). DestinationName is the
	// instance that has the destination address, "" if none has.
	Source, Destination netip.AddrPort
	DestinationName     string
	RTT                 time.Duration // 0 without an answer
	// Judgements are the verdicts in the order in which they fell: the packets on their way there, then the answer.
	// Empty where no security group was asked (the router's own address).
	Judgements []Judgement
	// Records are those that the flow log made of these packets, of both orientations of the tuple. What records say
	// again in the next window is not repeated.
	Records []Record
}

// Judgement is one verdict of one network interface's security groups.
type Judgement struct {
	Instance  string
	Groups    []string // names of the interface's groups, all of which were asked
	Direction vpc.Direction
	Accept    bool
	// Rule that admitted the packet; zero for a reject. On a tracked connection it is the rule that opened it.
	Rule RuleRef
	// Tracked: admitted by the state of a connection and not by a rule: an answer, or a further packet of a tracked
	// connection. The first packet of a flow is never admitted so.
	Tracked bool
}

// RuleRef names a rule as verdicts do.
type RuleRef struct {
	ID      string // sgr-...
	Group   string // name of its group
	Words   string // as written: "tcp 8080 from web"; the canonical words for one written in AWS's fields
	Where   string // "lab.yaml:12"; "" for rules that no file has
	Default bool   // one that AWS gives to every new group
}

// Record is one flow-log record without its counts.
type Record struct {
	Instance  string
	Direction vpc.Direction
	Accept    bool
}

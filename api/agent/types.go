package agent

import (
	"net/netip"
	"time"
)

// Seconds is a length of time on the wire.
type Seconds float64

// SecondsOf gives d as Seconds.
func SecondsOf(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration gives s as a time.Duration, rounded to a microsecond.
func (s Seconds) Duration() time.Duration {
	return time.Duration(float64(s) * float64(time.Second)).Round(time.Microsecond)
}

// The two words a flow is judged by, as AWS's flow logs write them.
const (
	Accept = "ACCEPT"
	Reject = "REJECT"
	// Drop is what happened to a packet that no rule rejected but that cannot be forwarded (spoofed, no route,
	// table full). It has a counter and an explanation and never a flow-log record.
	Drop = "DROP"
)

// Directions, seen from the network interface.
const (
	Ingress = "ingress"
	Egress  = "egress"
)

// Endpoint is one end of a flow: an address with the names people know it by.
type Endpoint struct {
	Name    string     `json:"name,omitempty"` // of the instance (or "router"); "" where the address is nobody's
	Address netip.Addr `json:"address"`
	Port    int        `json:"port,omitempty"`    // 0 for protocols without ports
	Service string     `json:"service,omitempty"` // the port's name, "postgres"; "" if it has none
}

// Target is the far end that a person names: HOST[:PORT[/PROTO]]. See ParseTarget.
type Target struct {
	Host     string `json:"host"`               // instance name or id, interface id, or address
	Port     int    `json:"port,omitempty"`     // 0 where the protocol has none
	Protocol string `json:"protocol,omitempty"` // "tcp", "udp", "icmp" (also for IPv6), or an IANA number
}

// RuleRef names the rule that decided, in the words in which the person wrote it.
type RuleRef struct {
	ID        string `json:"id,omitempty"`        // sgr-...; "" for a default deny
	GroupID   string `json:"group_id,omitempty"`  // sg-...
	Group     string `json:"group,omitempty"`     // the group's name; for a default deny the names of all groups asked, "a, b"
	Direction string `json:"direction,omitempty"` // Ingress or Egress
	Words     string `json:"words,omitempty"`     // "tcp 8080 from web"; "no rule" for a default deny
	Where     string `json:"where,omitempty"`     // "lab.yaml:12"
	Default   bool   `json:"default,omitempty"`   // a rule that AWS gives to every new group
	Tracked   bool   `json:"tracked,omitempty"`   // admitted by the connection, no rule asked: "reply, tracked"
}

// RecordRef names a flow-log record without its counts: "web-1 egress ACCEPT".
type RecordRef struct {
	At        string `json:"at"`
	Direction string `json:"direction"`
	Action    string `json:"action"`
}

// Progress is one line of what a long request is doing, for standard error.
type Progress struct {
	Action string `json:"action"` // "create", "start", "wait", "stop", "remove", "publish", ...
	Kind   string `json:"kind"`   // "instance", "security-group", ...
	Name   string `json:"name,omitempty"`
	Detail string `json:"detail,omitempty"` // "netns, 10.0.1.10"
	Done   int    `json:"done,omitempty"`   // of Total; both 0 where it cannot be told
	Total  int    `json:"total,omitempty"`
}

// ProbeRequest asks for real packets from an instance to a target.
type ProbeRequest struct {
	Lab     string  `json:"lab,omitempty"` // only names of this lab; "" if the names are unique
	From    string  `json:"from"`          // instance name or id
	To      Target  `json:"to"`
	Count   int     `json:"count,omitempty"`   // packets or connections; 0 means 1
	Timeout Seconds `json:"timeout,omitempty"` // for each; 0 means the agent's default
}

// Outcomes of a probe.
const (
	Answered = "answered" // the far end took the packet and answered
	Refused  = "refused"  // the packet arrived; the host itself said no (RST, port unreachable)
	Rejected = "rejected" // a rule (or ACL) on the way said no; nothing arrived
	Dropped  = "dropped"  // not forwarded, and not because of a rule: no route, spoofed, table full
	Lost     = "lost"     // accepted on the way, but no answer in time
)

// ProbeResult is what came of real packets.
type ProbeResult struct {
	Outcome     string      `json:"outcome"`
	Verdict     string      `json:"verdict"` // Accept, Reject or Drop: what the switch said
	Protocol    string      `json:"protocol"`
	Source      Endpoint    `json:"source"`
	Destination Endpoint    `json:"destination"`
	Rule        RuleRef     `json:"rule"`             // that decided: the last one asked on the way there
	Reason      string      `json:"reason,omitempty"` // in words, for every outcome but answered
	Attempts    []Attempt   `json:"attempts"`
	Records     []RecordRef `json:"records"` // the flow-log records it caused
}

// Attempt is one packet or connection of a probe.
type Attempt struct {
	Outcome string  `json:"outcome"`
	RTT     Seconds `json:"rtt_seconds,omitempty"` // 0 without an answer
	Detail  string  `json:"detail,omitempty"`      // "connection refused", "HTTP 200 web-1 10.0.1.10:80"
}

// ExplainRequest asks what would happen to a packet. Nothing is sent, counted or recorded.
type ExplainRequest struct {
	Lab        string `json:"lab,omitempty"`
	From       string `json:"from"` // instance name or id
	To         Target `json:"to"`
	SourcePort int    `json:"source_port,omitempty"` // 0: an ephemeral port
}

// Explanation is the pipeline's own trace of one packet and of its answer.
type Explanation struct {
	Verdict     string      `json:"verdict"` // Accept, Reject or Drop
	Protocol    string      `json:"protocol"`
	Source      Endpoint    `json:"source"`
	Destination Endpoint    `json:"destination"`
	Steps       []Step      `json:"steps"`
	Return      ReturnPath  `json:"return"`
	Records     []RecordRef `json:"records"`
	Note        string      `json:"note,omitempty"` // one more thing to know, "an open connection (tracked) would pass"
}

// Step is one stage of the pipeline that the packet came to.
type Step struct {
	At      string   `json:"at"`             // the instance, VPC or subnet it happened at
	Stage   string   `json:"stage"`          // "sg egress", "route", "acl ingress", "guard", "conntrack", ...
	Result  string   `json:"result"`         // Accept, Reject, Drop, or the route's target: "local"
	Detail  string   `json:"detail"`         // "web: all to anywhere (default)", "10.0.0.0/16", "100 all"
	Where   string   `json:"where"`          // file and line of the rule; ""
	Code    string   `json:"code,omitempty"` // Reachability Analyzer's explanation code, where the step blocks
	Rule    *RuleRef `json:"rule,omitempty"`
	Nearest *Nearest `json:"nearest,omitempty"` // only with a default deny
}

// Nearest is the rule that would have come closest to admitting the packet, and what differs.
type Nearest struct {
	Rule    RuleRef `json:"rule"`
	Differs string  `json:"differs"` // "peer", "port", "protocol"
	Why     string  `json:"why"`     // "web-1 is in web, not app"
}

// ReturnPath is what would happen to the answer.
type ReturnPath struct {
	Verdict string `json:"verdict,omitempty"` // Accept, Reject, Drop; "" if not reached
	Text    string `json:"text"`              // "not reached", "tracked, passes without a rule"
	Steps   []Step `json:"steps,omitempty"`   // only where the answer is judged by rules
}

// RuleRequest changes the rules of a group while traffic runs.
type RuleRequest struct {
	Lab       string `json:"lab,omitempty"`
	Group     string `json:"group"` // name or id
	Direction string `json:"direction,omitempty"`
	// Rule is short ("tcp 8080 from web", "all to anywhere") or, to revoke, the id of a rule (sgr-...). "from" makes
	// it an ingress rule and "to" an egress rule; Direction, if given, must agree.
	Rule string `json:"rule"`
}

// RuleResult is what the change did, once it holds for the next frame.
type RuleResult struct {
	Revision uint64    `json:"revision"`
	Group    string    `json:"group"`
	GroupID  string    `json:"group_id"`
	Rules    []RuleRef `json:"rules"` // added, or removed
	// Surviving counts the tracked connections that live on although their rule is gone.
	Surviving int `json:"surviving,omitempty"`
}

// ExecRequest runs a program on an instance.
type ExecRequest struct {
	Lab      string   `json:"lab,omitempty"`
	Instance string   `json:"instance"`
	Argv     []string `json:"argv"`
	// Of a program of the host; see ExecTarget.Files.
	Env   []string `json:"env,omitempty"`
	Dir   string   `json:"dir,omitempty"`
	Files bool     `json:"files,omitempty"` // standard streams come as descriptors; set by ExecFiles
}

// ExecTarget says how to run a program on an instance.
type ExecTarget struct {
	Instance   string `json:"instance"`
	InstanceID string `json:"instance_id"`
	Driver     string `json:"driver"` // "netns", "netstack"
	// InAgent is set where the agent runs the (built-in) program itself: call Exec. Otherwise the client joins the
	// instance and runs a program of the host; Info has what the driver needs for that.
	InAgent bool     `json:"in_agent"`
	Tools   []string `json:"tools,omitempty"` // the built-in programs, where InAgent and not Files
	// Files is set where the agent runs a program of the host, which can have files of the client as its standard
	// streams: call ExecFiles, or Exec where they are none. It wants Env and Dir.
	Files bool              `json:"files,omitempty"`
	Info  map[string]string `json:"info,omitempty"` // the driver's own: namespace path, hosts file, ...
}

package agent

import (
	"net/netip"
	"time"
)

// Status is the agent and what it runs.
type Status struct {
	Agent     AgentInfo     `json:"agent"`
	Labs      []LabRow      `json:"labs"`
	Instances []InstanceRow `json:"instances"`
	Conntrack TableStats    `json:"conntrack"`
	Drops     []Counter     `json:"drops"` // those above 0, by name
}

// AgentInfo is the process itself.
type AgentInfo struct {
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	DataDir  string    `json:"data_dir"`
	Driver   string    `json:"driver"` // used for new instances
	Started  time.Time `json:"started"`
	Revision uint64    `json:"revision"` // of the model
	Applied  uint64    `json:"applied"`  // the newest that every worker runs on
	Account  string    `json:"account"`
	Region   string    `json:"region"`
}

// LabRow is one lab.
type LabRow struct {
	Name      string `json:"name"`
	File      string `json:"file,omitempty"`
	VPCs      int    `json:"vpcs"`
	Subnets   int    `json:"subnets"`
	Groups    int    `json:"security_groups"`
	Instances int    `json:"instances"`
	Running   int    `json:"running"` // instances
}

// InstanceRow is one instance.
type InstanceRow struct {
	Lab       string       `json:"lab,omitempty"`
	Name      string       `json:"name"`
	ID        string       `json:"id"`
	State     string       `json:"state"`
	Driver    string       `json:"driver"`
	VPC       string       `json:"vpc"` // name, or id where it has none; so for all below
	Subnet    string       `json:"subnet"`
	Addresses []netip.Addr `json:"addresses"` // the primary first
	Groups    []string     `json:"security_groups"`
	Listen    []string     `json:"listen,omitempty"` // "tcp/80"
	Problem   string       `json:"problem,omitempty"`
}

// TableStats is the fill of the flow table.
type TableStats struct {
	Halves   int    `json:"halves"`
	Rejected int    `json:"rejected"`
	Capacity int    `json:"capacity"`
	Full     uint64 `json:"full"`    // flows refused because it was full
	Evicted  uint64 `json:"evicted"` // half-open ones that had to go
}

// Counter is a named count.
type Counter struct {
	Name  string `json:"name"`
	Where string `json:"where,omitempty"` // the instance or port
	Value uint64 `json:"value"`
}

// FlowsRequest asks for flow-log records.
type FlowsRequest struct {
	Lab      string    `json:"lab,omitempty"`
	Instance string    `json:"instance,omitempty"` // records made at this instance's interfaces
	Address  string    `json:"address,omitempty"`  // either end: an address, a CIDR or an instance name
	Port     int       `json:"port,omitempty"`     // either end
	Protocol string    `json:"protocol,omitempty"`
	Action   string    `json:"action,omitempty"`    // Accept or Reject; "" both
	Dir      string    `json:"direction,omitempty"` // Ingress or Egress; "" both
	Since    time.Time `json:"since"`               // records whose last packet is not older; zero: all there are
	Last     int       `json:"last,omitempty"`      // the newest N; 0 all
	// Follow goes on with new records until the request is cancelled.
	Follow bool `json:"follow,omitempty"`
	// Sealed leaves out the open window: only records as AWS would publish them (and NODATA, SKIPDATA).
	Sealed bool `json:"sealed,omitempty"`
	// Format asks for FlowRow.Line in this flow-log format; DefaultFormat means AWS's default (version 2).
	Format string `json:"format,omitempty"`
}

// DefaultFormat stands in FlowsRequest.Format for AWS's default format.
const DefaultFormat = "default"

// FlowEvent is one thing that a stream of records tells. Exactly one field is set.
type FlowEvent struct {
	Flow *FlowRow `json:"flow,omitempty"`
	// Header is the header line of the requested Format, sent first.
	Header string `json:"header,omitempty"`
	// Lost counts records that this follower was too slow for.
	Lost uint64 `json:"lost,omitempty"`
}

// FlowRow is one flow-log record with its names.
type FlowRow struct {
	Start       time.Time `json:"start"` // first packet of the window
	End         time.Time `json:"end"`   // last packet
	Lab         string    `json:"lab,omitempty"`
	At          string    `json:"at"` // the instance whose interface made it
	InterfaceID string    `json:"interface_id"`
	Direction   string    `json:"direction"`
	Protocol    string    `json:"protocol"` // "tcp", "udp", "icmp", "icmpv6" or the number
	Source      Endpoint  `json:"source"`
	Destination Endpoint  `json:"destination"`
	Action      string    `json:"action"`
	Packets     uint64    `json:"packets"`
	Bytes       uint64    `json:"bytes"`
	TCPFlags    uint8     `json:"tcp_flags"` // as in the record; the words are made by whoever prints it
	Rule        RuleRef   `json:"rule"`
	Reason      string    `json:"reason,omitempty"` // of a REJECT
	Status      string    `json:"log_status"`       // "OK", "NODATA", "SKIPDATA"
	// Open is set while the record's window is: the counts are so far. A follower gets such a record as soon as its
	// flow is quiet and once more, complete, when the window is sealed and it has grown since.
	Open bool   `json:"open,omitempty"`
	Line string `json:"line,omitempty"` // in the requested Format
}

// ConntrackRequest asks for the flow table.
type ConntrackRequest struct {
	Lab      string `json:"lab,omitempty"`
	Instance string `json:"instance,omitempty"`
	Address  string `json:"address,omitempty"` // either end: an address, a CIDR or an instance name
	Port     int    `json:"port,omitempty"`    // either end
	Protocol string `json:"protocol,omitempty"`
	Rejected bool   `json:"rejected,omitempty"` // also the cached rejects
	Last     int    `json:"last,omitempty"`     // the N seen most lately; 0 all
}

// ConntrackRow is one half: what one network interface knows of a flow.
type ConntrackRow struct {
	Lab         string    `json:"lab,omitempty"`
	At          string    `json:"at"` // the instance
	InterfaceID string    `json:"interface_id"`
	Protocol    string    `json:"protocol"`
	Inside      Endpoint  `json:"inside"`
	Outside     Endpoint  `json:"outside"`
	Opener      string    `json:"opener"` // Egress or Ingress: the way its first packet went
	State       string    `json:"state"`  // "ESTABLISHED", "SYN-SENT", ...; "" where the protocol has none
	Tracked     bool      `json:"tracked"`
	Action      string    `json:"action"` // Accept or Reject: of the opener's direction
	Rule        RuleRef   `json:"rule"`   // that admitted it
	Opened      time.Time `json:"opened"`
	LastSeen    time.Time `json:"last_seen"`
	ExpiresIn   Seconds   `json:"expires_in_seconds"`
}

// FlowCount is traffic in one direction.
type FlowCount struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// FlowLogsRequest asks for published flow-log files.
type FlowLogsRequest struct {
	FlowLog string    `json:"flow_log,omitempty"` // id or name; "" all
	Since   time.Time `json:"since"`              // files whose last record is not older
	Last    int       `json:"last,omitempty"`     // the newest N files; 0 all
}

// FlowLogFile is one published file.
type FlowLogFile struct {
	FlowLogID string    `json:"flow_log_id"`
	Name      string    `json:"name,omitempty"` // of the flow log
	Resource  string    `json:"resource"`       // what it logs: VPC, subnet or interface, by name
	Key       string    `json:"key"`            // bucket/prefix/AWSLogs/...: below <data dir>/flowlogs
	Path      string    `json:"path"`           // of the file on this machine
	Size      int64     `json:"size"`           // bytes, compressed
	Modified  time.Time `json:"modified"`
}

// FlowLogReadRequest asks for the lines of published files.
type FlowLogReadRequest struct {
	FlowLogsRequest
	Key string `json:"key,omitempty"` // one file, by key or the end of its key; "" all that the rest selects
}

// FlowLogLine is one line of a file. Header lines come once for each file.
type FlowLogLine struct {
	Key    string `json:"key"`
	Header bool   `json:"header,omitempty"`
	Line   string `json:"line"`
}

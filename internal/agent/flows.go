package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
)

// liveEvery is how often a follower is told what the flow table has counted.
const liveEvery = time.Second

// Flows emits records: those that are there, then new ones.
func (n *node) Flows(ctx context.Context, r *api.FlowsRequest, emit func(*api.FlowEvent) error) error {
	view := n.store.View()
	filter, err := n.flowFilter(view, r)
	if err != nil {
		return err
	}
	w := &flowWriter{n: n, view: view, request: r, emit: emit}
	if err := w.begin(); err != nil {
		return err
	}
	var sub *flowlogs.Subscription
	if r.Follow {
		n.sw.DrainRecords() // so that what is counted up to here is in the first part alone
		sub = n.records.Subscribe(flowlogs.Subscribe{Filter: filter, Live: !r.Sealed})
		defer sub.Close()
	}
	if err := w.past(filter); err != nil {
		return err
	}
	if !r.Follow {
		return nil
	}
	return w.follow(ctx, sub)
}

// flowFilter puts a request into the flow log's words.
func (n *node) flowFilter(view *vpc.View, r *api.FlowsRequest) (flowlogs.Filter, error) {
	f := flowlogs.Filter{FlowsOnly: !r.Sealed}
	if err := knownLab(view, r.Lab); err != nil {
		return f, err
	}
	if !r.Since.IsZero() {
		f.Since = r.Since.UnixNano()
	}
	switch r.Action {
	case api.Accept:
		f.Action = flowlogs.Accept
	case api.Reject:
		f.Action = flowlogs.Reject
	}
	if r.Port != 0 {
		f.Ports = []uint16{uint16(r.Port)}
	}
	if r.Protocol != "" {
		p, err := targetProtocol(api.Target{Protocol: r.Protocol})
		if err != nil {
			return f, err
		}
		f.Protocols = []uint8{p}
	}
	if r.Instance != "" {
		i, err := n.instanceNamed(view, r.Lab, r.Instance)
		if err != nil {
			return f, err
		}
		f.Interfaces = i.InterfaceIDs
		if r.Lab == "" && len(view.Find(i.Lab, vpc.KindInstance, r.Address)) > 0 { // --addr is a neighbour of --at
			in := *r
			in.Lab = i.Lab
			r = &in
		}
	}
	if err := n.addressFilter(view, r, &f); err != nil {
		return f, err
	}
	if r.Lab != "" && f.Interfaces == nil {
		for _, o := range view.LabObjects(r.Lab) {
			if v, ok := o.(*vpc.VPC); ok {
				f.VPCIDs = append(f.VPCIDs, v.ID)
			}
		}
	}
	return f, nil
}

// addressFilter reads "either end": a CIDR, an address or an instance.
func (n *node) addressFilter(view *vpc.View, r *api.FlowsRequest, f *flowlogs.Filter) error {
	if r.Address == "" {
		return nil
	}
	if p, err := netip.ParsePrefix(r.Address); err == nil {
		f.Addresses = []netip.Prefix{p.Masked()}
		return nil
	}
	a, err := n.targetAddress(view, r.Lab, r.Address)
	if err != nil {
		return err
	}
	f.Addresses = []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}
	return nil
}

// flowWriter turns records into events.
type flowWriter struct {
	n       *node
	view    *vpc.View
	request *api.FlowsRequest
	format  *flowlogs.Format
	emit    func(*api.FlowEvent) error
}

// begin reads the format that lines are wanted in, and sends its header.
func (w *flowWriter) begin() error {
	text := w.request.Format
	if text == "" {
		return nil
	}
	if text == api.DefaultFormat {
		text = vpc.DefaultLogFormat
	}
	f, err := flowlogs.ParseFormat(text)
	if err != nil {
		return &api.Error{Code: api.CodeBadRequest, Field: "format", Message: err.Error()}
	}
	w.format = f
	return w.emit(&api.FlowEvent{Header: string(f.Header())})
}

// past sends the records that are there, oldest first.
func (w *flowWriter) past(filter flowlogs.Filter) error {
	sealed := w.n.records.Recent(filter)
	var open []flowlogs.Record
	if !w.request.Sealed {
		w.n.sw.DrainRecords()
		open = w.n.records.Open(filter)
	}
	all := byFlow(slices.Concat(sealed, open))
	from := 0
	if w.request.Last > 0 {
		from = max(0, len(all)-w.request.Last)
	}
	for i := range all[from:] {
		if err := w.write(&all[from+i], false); err != nil {
			return err
		}
	}
	return nil
}

// byFlow sorts records by the time at which their flow's first record began; those of one flow stand in
// the order in which a packet and its answer meet the interfaces.
func byFlow(records []flowlogs.Record) []flowlogs.Record {
	type flow struct {
		first  int64
		opener packet.Tuple
	}
	flows := map[packet.Tuple]*flow{} // under both orientations
	for i := range records {
		r := &records[i]
		f := flows[r.Tuple]
		if f == nil {
			f = &flow{recordTime(r), r.Tuple}
			flows[r.Tuple], flows[r.Tuple.Reverse()] = f, f
		}
		// The opener sends the SYN that no ACK goes with; of other protocols, the first packet.
		opens := r.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN
		if t := recordTime(r); t < f.first || t == f.first && (opens || r.Direction == vpc.Egress && r.Tuple.Proto != packet.ProtoTCP) {
			f.first, f.opener = t, r.Tuple
		}
	}
	slices.SortStableFunc(records, func(a, b flowlogs.Record) int {
		fa, fb := flows[a.Tuple], flows[b.Tuple]
		if fa != fb {
			return cmp.Or(cmp.Compare(fa.first, fb.first), compareTuples(&fa.opener, &fb.opener))
		}
		return cmp.Or(cmp.Compare(a.Window.Start, b.Window.Start), cmp.Compare(pathOrder(&a, fa.opener), pathOrder(&b, fb.opener)))
	})
	return records
}

// compareTuples is any order; it keeps flows apart that began in one millisecond.
func compareTuples(a, b *packet.Tuple) int {
	return cmp.Or(bytes.Compare(a.Src[:], b.Src[:]), bytes.Compare(a.Dst[:], b.Dst[:]), cmp.Compare(a.SrcPort, b.SrcPort),
		cmp.Compare(a.DstPort, b.DstPort), cmp.Compare(a.Proto, b.Proto))
}

// pathOrder is the place of a record on the way there and back.
func pathOrder(r *flowlogs.Record, opener packet.Tuple) int {
	n := 0
	if r.Tuple != opener {
		n = 2
	}
	if r.Direction == vpc.Ingress {
		n++
	}
	return n
}

func recordTime(r *flowlogs.Record) int64 {
	if r.First != 0 {
		return r.First
	}
	return r.Start * int64(time.Second)
}

// follow sends what comes until the client goes.
func (w *flowWriter) follow(ctx context.Context, sub *flowlogs.Subscription) error {
	if sub.Live {
		go w.n.drainEvery(ctx, liveEvery)
	}
	for {
		batch, err := sub.Next(ctx)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if batch.Lost > 0 {
			if err := w.emit(&api.FlowEvent{Lost: batch.Lost}); err != nil {
				return err
			}
		}
		w.view = w.n.store.View()
		for i := range batch.Records {
			if err := w.write(&batch.Records[i], sub.Live); err != nil {
				return err
			}
		}
	}
}

// drainEvery keeps live followers up to date.
func (n *node) drainEvery(ctx context.Context, d time.Duration) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			n.sw.DrainRecords()
		}
	}
}

func (w *flowWriter) write(r *flowlogs.Record, live bool) error {
	row := flowRow(w.n, w.view, r)
	row.Open = live || r.End > time.Now().Unix()
	if w.format != nil {
		row.Line = string(w.format.Append(nil, r))
	}
	return w.emit(&api.FlowEvent{Flow: row})
}

// flowRow gives a record its names.
func flowRow(n *node, view *vpc.View, r *flowlogs.Record) *api.FlowRow {
	i := r.Interface
	row := &api.FlowRow{
		Start: time.Unix(r.Start, 0), End: time.Unix(r.End, 0), At: recordAt(view, i), InterfaceID: i.ID,
		Action: r.Action.String(), Packets: r.Packets, Bytes: r.Bytes, Status: r.Status.String(),
	}
	if inst, ok := view.Instance(i.InstanceID); ok {
		row.Lab = inst.Lab
	}
	if r.Status != flowlogs.OK {
		return row
	}
	row.Start, row.End = time.Unix(0, r.First), time.Unix(0, r.Last)
	t := r.Tuple
	row.Direction, row.Protocol, row.TCPFlags = r.Direction.String(), protocolWord(t.Proto), r.TCPFlags
	row.Source = endpoint(view, i.VPCID, t.Src.Netip(), int(t.SrcPort), t.Proto)
	row.Destination = endpoint(view, i.VPCID, t.Dst.Netip(), int(t.DstPort), t.Proto)
	row.Rule = n.recordRule(view, r)
	if r.Action == flowlogs.Reject {
		row.Reason = describeDrop(vswitch.Reason(r.Reason))
	}
	return row
}

// recordAt names the instance that a record was made at, also when it is gone.
func recordAt(view *vpc.View, i *flowlogs.Interface) string {
	if name := instanceAt(view, i.ID); name != "" {
		return name
	}
	return i.ID
}

// recordRule names what decided the latest packet of a record.
func (n *node) recordRule(view *vpc.View, r *flowlogs.Record) api.RuleRef {
	switch vswitch.Reason(r.Reason) {
	case vswitch.ReasonReply:
		return api.RuleRef{Tracked: true, Words: "reply, tracked"}
	case vswitch.ReasonNoRule:
		ref := api.RuleRef{Direction: r.Direction.String(), Words: "no rule"}
		if ni, ok := view.NetworkInterface(r.Interface.ID); ok {
			ref.Group = joinNames(view, ni.Groups)
		}
		return ref
	case vswitch.ReasonAfterClose:
		return api.RuleRef{Words: "the connection was closed"}
	}
	if info := n.sw.Rules().RuleInfo(r.Rule); info != nil {
		return ruleInfoRef(info)
	}
	return api.RuleRef{}
}

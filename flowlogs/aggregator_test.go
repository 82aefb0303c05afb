package flowlogs

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

const web1 = "eni-00000000000000001"

func newTest(c Config) *Aggregator {
	c.Start = at(0)
	a := NewAggregator(c)
	a.SetInterface(1, testInterface(web1, "10.0.1.10"))
	return a
}

func change(f *Flow, edit func(*Flow)) *Flow {
	edit(f)
	return f
}

func TestOneRecordForWhatAddBroughtOfAFlow(t *testing.T) {
	a := newTest(Config{})
	a.Add(1, web(3, 5))
	a.Add(1, change(web(1, 9), func(f *Flow) { f.TCPFlags, f.Rule, f.Reason, f.TrafficPath = packet.FIN, 8, 2, 1 }))
	a.Add(1, change(web(2, 4), func(f *Flow) { f.Rule, f.Reason = 9, 3 }))
	got := a.Seal(at(60))
	same(t, "records", shortLines(got), web1+" 10.0.1.66 40000 80 6 12 648 1 60 ACCEPT 3 OK")
	r := got[0]
	if r.Rule != 8 || r.Reason != 2 || r.TrafficPath != 1 {
		t.Errorf("rule %d, reason %d, path %d: not those of the latest packet", r.Rule, r.Reason, r.TrafficPath)
	}
	if r.First != at(1) || r.Last != at(9) {
		t.Errorf("first %d, last %d", r.First, r.Last)
	}
}

func TestWhatMakesRecordsOfTheirOwn(t *testing.T) {
	a := newTest(Config{})
	a.Add(1, web(1, 1))
	edits := []func(*Flow){
		func(f *Flow) { f.Action = Reject },
		func(f *Flow) { f.Direction = vpc.Egress },
		func(f *Flow) { f.Tuple.Proto = packet.ProtoUDP },
		func(f *Flow) { f.Tuple.SrcPort++ },
		func(f *Flow) { f.Tuple.DstPort++ },
		func(f *Flow) { f.Tuple.Src[15]++ },
		func(f *Flow) { f.Tuple.Dst[15]++ },
	}
	for _, edit := range edits {
		a.Add(1, change(web(1, 1), edit))
	}
	if got := a.Seal(at(60)); len(got) != len(edits)+1 {
		t.Errorf("%d records, want %d:\n%s", len(got), len(edits)+1, shortLines(got))
	}
}

func TestPingIsOneRecordWhateverItsIdentifiers(t *testing.T) {
	a := newTest(Config{})
	for _, proto := range []uint8{packet.ProtoICMP, packet.ProtoICMPv6} {
		for id := range uint16(3) {
			a.Add(1, change(web(1, 2), func(f *Flow) {
				f.Tuple.Proto, f.Tuple.SrcPort, f.Tuple.DstPort = proto, id, 8<<8
			}))
		}
	}
	same(t, "records", shortLines(a.Seal(at(60))), `
eni-00000000000000001 10.0.1.66 0 0 1 12 648 1 60 ACCEPT 0 OK
eni-00000000000000001 10.0.1.66 0 0 58 12 648 1 60 ACCEPT 0 OK`)
}

func TestFlagsOfARecord(t *testing.T) {
	tests := []struct {
		name  string
		proto uint8
		flags []uint8 // one call of Add each
		want  uint8
	}{
		{"syn", packet.ProtoTCP, []uint8{packet.SYN}, 2},
		{"syn-ack", packet.ProtoTCP, []uint8{packet.SYN | packet.ACK}, 18},
		{"ack alone is not recorded", packet.ProtoTCP, []uint8{packet.ACK | packet.PSH}, 0},
		{"an unsupported flag beside one is dropped", packet.ProtoTCP, []uint8{packet.SYN | packet.ECE}, 2},
		{"fin-ack", packet.ProtoTCP, []uint8{packet.FIN | packet.ACK}, 1},
		{"rst-ack", packet.ProtoTCP, []uint8{packet.RST | packet.ACK}, 4},
		{"syn, then ack", packet.ProtoTCP, []uint8{packet.SYN, packet.ACK}, 2},
		{"whole connection", packet.ProtoTCP, []uint8{packet.SYN, packet.FIN | packet.ACK}, 3},
		{"whole answer", packet.ProtoTCP, []uint8{packet.SYN | packet.ACK, packet.FIN}, 19},
		{"all", packet.ProtoTCP, []uint8{packet.SYN, packet.FIN, packet.RST}, 7},
		{"not tcp", packet.ProtoUDP, []uint8{packet.SYN}, 0},
	}
	for _, test := range tests {
		a := newTest(Config{})
		for _, flags := range test.flags {
			a.Add(1, change(web(1, 1), func(f *Flow) { f.Tuple.Proto, f.TCPFlags = test.proto, flags }))
		}
		if got := a.Seal(at(60))[0].TCPFlags; got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestWindows(t *testing.T) {
	a := newTest(Config{})
	a.Add(1, web(59, 61)) // counted where its first packet is
	a.Add(1, web(60, 62))
	if got := a.Seal(at(59)); got != nil {
		t.Errorf("sealed before the window's end: %s", shortLines(got))
	}
	same(t, "first", shortLines(a.Seal(at(60))), web1+" 10.0.1.66 40000 80 6 4 216 59 60 ACCEPT 2 OK")
	a.Add(1, web(58, 59)) // came late: the oldest open window takes it, its start lies in there
	same(t, "open", shortLines(a.Open(Filter{})), web1+" 10.0.1.66 40000 80 6 8 432 60 120 ACCEPT 2 OK")
	same(t, "second", shortLines(a.Seal(at(125))), web1+" 10.0.1.66 40000 80 6 8 432 60 120 ACCEPT 2 OK")
	if got := a.Seal(at(61)); got != nil {
		t.Errorf("a clock that went back sealed: %s", shortLines(got))
	}
	same(t, "nothing came", shortLines(a.Seal(at(180))), web1+" - - - - - - 120 180 - - NODATA")
}

func TestTimestamps(t *testing.T) {
	for _, test := range []struct {
		setting    Timestamps
		start, end int64
	}{{WindowEnd, 5, 60}, {LastPacket, 5, 17}, {WholeWindow, 0, 60}} {
		a := newTest(Config{Timestamps: test.setting})
		f := web(5, 17)
		f.First += nanos - 1 // the second counts, not the nearest one
		a.Add(1, f)
		r := a.Seal(at(60))[0]
		if r.Start-base != test.start || r.End-base != test.end {
			t.Errorf("%v: %d to %d, want %d to %d", test.setting, r.Start-base, r.End-base, test.start, test.end)
		}
	}
	a := newTest(Config{Timestamps: LastPacket})
	a.Add(1, web(50, 75)) // counted late: the end stays in the window
	if r := a.Seal(at(60))[0]; r.End-base != 60 {
		t.Errorf("end %d, want 60", r.End-base)
	}
}

func TestNoDataOfEveryWindowThatWasMissed(t *testing.T) {
	a := newTest(Config{MaxEmptyWindows: 3})
	a.Add(1, web(70, 70))
	a.SetInterface(2, testInterface("eni-00000000000000000", "10.0.1.11"))
	same(t, "gap", shortLines(a.Seal(at(190))), `
eni-00000000000000000 - - - - - - 0 60 - - NODATA
eni-00000000000000001 - - - - - - 0 60 - - NODATA
eni-00000000000000000 - - - - - - 60 120 - - NODATA
eni-00000000000000001 10.0.1.66 40000 80 6 4 216 70 120 ACCEPT 2 OK
eni-00000000000000000 - - - - - - 120 180 - - NODATA
eni-00000000000000001 - - - - - - 120 180 - - NODATA`)
	a.RemoveInterface(2)
	a.Seal(at(240))
	got := a.Seal(at(240 + 60*10))
	if len(got) != 3 || a.Stats().EmptyWindows != 7 {
		t.Errorf("%d records, %d windows not told, want 3 and 7", len(got), a.Stats().EmptyWindows)
	}
}

func TestWithoutStartTheFirstSealIsTheBeginning(t *testing.T) {
	a := NewAggregator(Config{})
	a.SetInterface(1, testInterface(web1, "10.0.1.10"))
	a.Add(1, web(1, 1))
	same(t, "records", shortLines(a.Seal(at(130))), web1+" 10.0.1.66 40000 80 6 4 216 1 60 ACCEPT 2 OK")
	same(t, "then", shortLines(a.Seal(at(180))), web1+" - - - - - - 120 180 - - NODATA")
}

func TestWhatThereIsNoRoomForBecomesSkipData(t *testing.T) {
	a := newTest(Config{MaxRecords: 3, MaxPerInterface: 2})
	a.SetInterface(2, testInterface("eni-00000000000000002", "10.0.1.11"))
	for n := range uint16(4) {
		a.Add(1, change(web(int64(n), int64(n)), func(f *Flow) { f.Tuple.SrcPort = n }))
	}
	a.Add(1, change(web(9, 9), func(f *Flow) { f.Tuple.SrcPort = 1 })) // has its record
	a.Add(2, web(5, 5))
	a.Add(2, change(web(6, 6), func(f *Flow) { f.Action = Reject })) // the third of three is taken
	if got := a.Stats(); got.Open != 3 || got.Skipped != (Tally{3, 12, 648}) {
		t.Errorf("stats %+v", got)
	}
	got := a.Seal(at(60))
	same(t, "records", shortLines(got), `
eni-00000000000000001 10.0.1.66 0 80 6 4 216 0 60 ACCEPT 2 OK
eni-00000000000000001 10.0.1.66 1 80 6 8 432 1 60 ACCEPT 2 OK
eni-00000000000000001 - - - - - - 0 60 - - SKIPDATA
eni-00000000000000002 10.0.1.66 40000 80 6 4 216 5 60 ACCEPT 2 OK
eni-00000000000000002 - - - - - - 0 60 - - SKIPDATA`)
	if skipped := got[2]; skipped.Packets != 8 || skipped.Bytes != 432 || skipped.First != at(2) || skipped.Last != at(3) {
		t.Errorf("skipped %+v", skipped.Flow)
	}
	a.Add(1, web(61, 61))
	if got := a.Stats(); got.Open != 1 || got.Skipped.Flows != 3 {
		t.Errorf("the room did not come back: %+v", got)
	}
}

func TestRemovedInterfaceIsKeptUntilItsLastWindowIsSealed(t *testing.T) {
	a := newTest(Config{})
	a.RemoveInterface(1)
	a.RemoveInterface(1)
	a.RemoveInterface(99)
	a.Add(1, web(30, 30)) // drained after the removal
	a.Add(1, web(61, 61))
	same(t, "its window", shortLines(a.Seal(at(60))), web1+" 10.0.1.66 40000 80 6 4 216 30 60 ACCEPT 2 OK")
	same(t, "its last", shortLines(a.Seal(at(120))), web1+" 10.0.1.66 40000 80 6 4 216 61 120 ACCEPT 2 OK")
	a.Add(1, web(121, 121))
	if got := a.Seal(at(180)); len(got) != 0 {
		t.Errorf("still told: %s", shortLines(got))
	}
	if got := a.Stats(); got.Unknown != (Tally{1, 4, 216}) {
		t.Errorf("unknown %+v", got.Unknown)
	}
	if len(a.byID)+len(a.byNumber)+len(a.retired) != 0 {
		t.Errorf("left behind: %d by id, %d by number, %d retired", len(a.byID), len(a.byNumber), len(a.retired))
	}
}

// TestAddThatLostARace has Add find an interface, and the interface's last window sealed before it counts.
func TestAddThatLostARace(t *testing.T) {
	a := newTest(Config{})
	found := a.source(1)
	a.RemoveInterface(1)
	a.Seal(at(60))
	if found.add(a, web(61, 61)) || a.Open(Filter{}) != nil || a.Stats().Open != 0 {
		t.Error("counted where nobody will look")
	}
}

func TestInterfaceUnderAnotherNumber(t *testing.T) {
	a := newTest(Config{})
	a.Add(1, web(1, 1))
	a.RemoveInterface(1)
	a.SetInterface(5, testInterface(web1, "10.0.1.10")) // detached and attached again
	a.Add(5, web(2, 2))
	a.Add(1, web(3, 3))
	same(t, "one record", shortLines(a.Seal(at(60))), web1+" 10.0.1.66 40000 80 6 12 648 1 60 ACCEPT 2 OK")
	same(t, "it lives on", shortLines(a.Seal(at(120))), web1+" - - - - - - 60 120 - - NODATA")
	if len(a.byNumber) != 1 || len(a.retired) != 0 {
		t.Errorf("old number left behind: %v", a.byNumber)
	}
}

func TestInterfaceUnderTwoNumbers(t *testing.T) {
	a := newTest(Config{})
	a.SetInterface(5, testInterface(web1, "10.0.1.10"))
	a.RemoveInterface(1)
	a.Seal(at(60))
	a.Add(5, web(61, 61))
	same(t, "the other number keeps it", shortLines(a.Seal(at(120))), web1+" 10.0.1.66 40000 80 6 4 216 61 120 ACCEPT 2 OK")
	a.RemoveInterface(5)
	a.Seal(at(180))
	if got := a.Seal(at(240)); len(got) != 0 || len(a.byID)+len(a.byNumber) != 0 {
		t.Errorf("still there: %s", shortLines(got))
	}
}

func TestOrderIsFixed(t *testing.T) {
	want := ""
	for seed := range uint64(5) {
		a := newTest(Config{})
		a.SetInterface(2, testInterface("eni-00000000000000000", "10.0.1.11"))
		order := rand.New(rand.NewPCG(seed, 3)).Perm(64)
		for _, n := range order { // each bit of n is one thing that differs
			f := web(1-int64(n&1), 9)
			f.Tuple.DstPort += uint16(n & 1)
			f.Tuple.Src[15] += byte(n >> 1 & 1)
			f.Tuple.SrcPort += uint16(n >> 2 & 1)
			f.Direction = vpc.Direction(n >> 3 & 1)
			f.Action = Accept + Action(n>>4&1)
			a.Add(1+uint32(n>>5&1), f)
		}
		got := shortLines(a.Seal(at(60)))
		if want == "" {
			want = got
		}
		same(t, "order", got, want)
	}
	if !strings.HasPrefix(want, "eni-00000000000000000 10.0.1.66 40000 81 6 4 216 0 60 ACCEPT 2 OK\n") {
		t.Errorf("first of all:\n%s", want)
	}
	if got := strings.Count(want, "\n"); got != 64 {
		t.Errorf("%d records", got)
	}
}

func TestLastIsNotBeforeFirst(t *testing.T) {
	a := newTest(Config{})
	a.Add(1, web(7, 2))
	if r := a.Seal(at(60))[0]; r.Last != at(7) {
		t.Errorf("last %d", r.Last)
	}
}

func TestNumberOfAnotherInterface(t *testing.T) {
	a := newTest(Config{})
	a.Add(1, web(1, 1))
	a.SetInterface(1, testInterface("eni-00000000000000002", "10.0.1.10"))
	a.Add(1, web(2, 2))
	same(t, "each has its own", shortLines(a.Seal(at(60))), `
eni-00000000000000001 10.0.1.66 40000 80 6 4 216 1 60 ACCEPT 2 OK
eni-00000000000000002 10.0.1.66 40000 80 6 4 216 2 60 ACCEPT 2 OK`)
	same(t, "the old one ended", shortLines(a.Seal(at(120))), "eni-00000000000000002 - - - - - - 60 120 - - NODATA")
	a.RemoveInterface(1)
	a.SetInterface(1, testInterface("eni-00000000000000002", "10.0.1.10")) // back before it was sealed
	same(t, "removed and back", shortLines(a.Seal(at(180))), "eni-00000000000000002 - - - - - - 120 180 - - NODATA")
	a.Add(1, web(181, 181))
	if got := a.Stats(); got.Unknown.Flows != 0 || got.Open != 1 {
		t.Errorf("%+v", got)
	}
}

func TestMetadataIsTheLatest(t *testing.T) {
	a := newTest(Config{})
	a.Add(1, web(1, 1))
	renamed := testInterface(web1, "10.0.1.10")
	renamed.InstanceID = "i-0fedcba9876543210"
	a.SetInterface(1, renamed)
	if got := a.Seal(at(60)); len(got) != 1 || got[0].Interface != renamed {
		t.Errorf("%+v", got)
	}
}

func TestDue(t *testing.T) {
	a := newTest(Config{})
	for _, test := range []struct {
		now  int64
		want bool
	}{{0, false}, {59, false}, {60, true}, {500, true}} {
		if got := a.Due(at(test.now)); got != test.want {
			t.Errorf("due after %d s: %v", test.now, got)
		}
	}
	a.Seal(at(61))
	if a.Due(at(119)) || !a.Due(at(120)) {
		t.Error("after a seal the next window's end is due")
	}
}

func TestFinishClosesTheOpenWindow(t *testing.T) {
	a := newTest(Config{})
	a.Add(1, web(1, 1))
	a.Add(1, web(61, 62))
	same(t, "all there is", shortLines(a.Finish(at(65))), `
eni-00000000000000001 10.0.1.66 40000 80 6 4 216 1 60 ACCEPT 2 OK
eni-00000000000000001 10.0.1.66 40000 80 6 4 216 61 120 ACCEPT 2 OK`)
	if got := a.Stats().Open; got != 0 {
		t.Errorf("%d still open", got)
	}
}

func TestNothingIsNoFlow(t *testing.T) {
	a := newTest(Config{})
	a.Add(1, change(web(1, 1), func(f *Flow) { f.Packets = 0 }))
	a.Add(7, change(web(1, 1), func(f *Flow) { f.Packets = 0 }))
	same(t, "records", shortLines(a.Seal(at(60))), web1+" - - - - - - 0 60 - - NODATA")
	if got := a.Stats(); got.Unknown.Flows != 0 {
		t.Errorf("%+v", got)
	}
}

func TestManyFlowsOfOneWindow(t *testing.T) {
	a := newTest(Config{})
	const n = 3*chunkSize + 5
	for round := range 2 {
		for i := range n {
			a.Add(1, change(web(1, 1), func(f *Flow) { f.Tuple.SrcPort, f.Packets = uint16(i), uint64(i+round) }))
		}
	}
	got := a.Seal(at(60))
	if len(got) != n {
		t.Fatalf("%d records, want %d", len(got), n)
	}
	for _, r := range got {
		if want := 2*uint64(r.Tuple.SrcPort) + 1; r.Packets != want {
			t.Fatalf("port %d has %d packets, want %d", r.Tuple.SrcPort, r.Packets, want)
		}
	}
	if a.Stats().Open != 0 || a.Stats().Sealed != n {
		t.Errorf("%+v", a.Stats())
	}
}

func TestFloorDiv(t *testing.T) {
	for _, test := range [][3]int64{{7, 5, 1}, {5, 5, 1}, {0, 5, 0}, {-1, 5, -1}, {-5, 5, -1}, {-6, 5, -2}} {
		if got := floorDiv(test[0], test[1]); got != test[2] {
			t.Errorf("%d/%d = %d, want %d", test[0], test[1], got, test[2])
		}
	}
	if w := Aligned(60)(-1); w != (Window{-60, 0}) || !w.Contains(-1) || w.Contains(0) {
		t.Errorf("%v", w)
	}
}

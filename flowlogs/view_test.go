package flowlogs

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

func TestFilter(t *testing.T) {
	flow := Record{Interface: testInterface(web1, "10.0.1.10"), Flow: *web(1, 5), Window: Window{base, base + 60}}
	flow.Tuple.Dst = tuple(6, "1.1.1.1:1", "192.0.2.9:80").Dst // shown as the primary
	quiet := Record{Interface: flow.Interface, Status: NoData, Window: flow.Window}
	lost := Record{Interface: flow.Interface, Status: SkipData, Window: flow.Window}
	for _, test := range []struct {
		name              string
		filter            Filter
		flow, quiet, lost bool
	}{
		{"all", Filter{}, true, true, true},
		{"flows only", Filter{FlowsOnly: true}, true, false, false},
		{"interface", Filter{Interfaces: []string{"eni-0", web1}}, true, true, true},
		{"another interface", Filter{Interfaces: []string{"eni-0"}}, false, false, false},
		{"vpc", Filter{VPCIDs: []string{"vpc-abcdefab012345678"}}, true, true, true},
		{"another vpc", Filter{VPCIDs: []string{"vpc-0"}}, false, false, false},
		{"source", Filter{Addresses: prefixes("10.0.1.66/32")}, true, false, false},
		{"packet's destination", Filter{Addresses: prefixes("192.0.2.0/24")}, true, false, false},
		{"shown destination", Filter{Addresses: prefixes("10.0.1.10/32")}, true, false, false},
		{"another address", Filter{Addresses: prefixes("10.0.1.11/32")}, false, false, false},
		{"source port", Filter{Ports: []uint16{40000}}, true, false, false},
		{"destination port", Filter{Ports: []uint16{1, 80}}, true, false, false},
		{"another port", Filter{Ports: []uint16{1}}, false, false, false},
		{"protocol", Filter{Protocols: []uint8{packet.ProtoTCP}}, true, false, false},
		{"another protocol", Filter{Protocols: []uint8{packet.ProtoUDP}}, false, false, false},
		{"action", Filter{Action: Accept}, true, false, false},
		{"another action", Filter{Action: Reject}, false, false, false},
		{"since its last packet", Filter{Since: at(5)}, true, true, true},
		{"since later in the window", Filter{Since: at(6)}, false, true, true},
		{"since the next window", Filter{Since: at(60)}, false, false, false},
	} {
		got := [3]bool{test.filter.Match(&flow), test.filter.Match(&quiet), test.filter.Match(&lost)}
		if got != [3]bool{test.flow, test.quiet, test.lost} {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestOpen(t *testing.T) {
	a := newTest(Config{MaxPerInterface: 2})
	a.SetInterface(2, testInterface("eni-00000000000000000", "10.0.1.11"))
	a.Add(1, web(61, 61))
	a.Add(1, web(5, 5))
	a.Add(1, change(web(3, 3), func(f *Flow) { f.Direction = vpc.Egress }))
	a.Add(2, web(4, 4))
	same(t, "open", shortLines(a.Open(Filter{})), `
eni-00000000000000000 10.0.1.66 40000 80 6 4 216 4 60 ACCEPT 2 OK
eni-00000000000000001 10.0.1.66 40000 80 6 4 216 5 60 ACCEPT 2 OK
eni-00000000000000001 - - - - - - 0 60 - - SKIPDATA
eni-00000000000000001 10.0.1.66 40000 80 6 4 216 61 120 ACCEPT 2 OK`)
	same(t, "one interface, newest", shortLines(a.Open(Filter{Interfaces: []string{web1}, Limit: 1, FlowsOnly: true})),
		"eni-00000000000000001 10.0.1.66 40000 80 6 4 216 61 120 ACCEPT 2 OK")
	same(t, "since", shortLines(a.Open(Filter{Since: at(5), FlowsOnly: true, Limit: 1})),
		"eni-00000000000000001 10.0.1.66 40000 80 6 4 216 61 120 ACCEPT 2 OK")
	if got := a.Recent(Filter{}); len(got) != 0 {
		t.Errorf("recent: %s", shortLines(got))
	}
	a.Seal(at(60))
	same(t, "then", shortLines(a.Open(Filter{})), "eni-00000000000000001 10.0.1.66 40000 80 6 4 216 61 120 ACCEPT 2 OK")
}

func TestRecentKeepsTheNewest(t *testing.T) {
	for _, limit := range []int{-1, 1, 3, 5, 100} {
		a := newTest(Config{RecentRecords: limit})
		var want string
		for minute := range int64(9) {
			for n := range minute % 4 { // 0 to 3 flows; NODATA where there are none
				a.Add(1, change(web(minute*60+n, minute*60+n), func(f *Flow) { f.Packets = uint64(minute*10 + n + 1) }))
			}
			want += shortLines(a.Seal(at(minute*60 + 60)))
			if got := shortLines(a.Recent(Filter{})); got != lastLines(want, max(limit, 0)) {
				t.Errorf("limit %d, minute %d: got\n%swant\n%s", limit, minute, got, lastLines(want, limit))
			}
			if got := shortLines(a.Recent(Filter{Limit: 2})); got != lastLines(want, min(max(limit, 0), 2)) {
				t.Errorf("limit %d, the last two: got\n%s", limit, got)
			}
		}
	}
}

func lastLines(text string, n int) string {
	at := len(text)
	for ; n > 0 && at > 0; n-- {
		for at--; at > 0 && text[at-1] != '\n'; at-- {
		}
	}
	return text[at:]
}

func next(t *testing.T, s *Subscription) Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	b, err := s.Next(ctx)
	must(t, err)
	return b
}

func TestSubscribeToSealedRecords(t *testing.T) {
	a := newTest(Config{})
	all := a.Subscribe(Subscribe{})
	flows := a.Subscribe(Subscribe{Filter: Filter{FlowsOnly: true}})
	a.Add(1, web(1, 1))
	a.Seal(at(60))
	a.Seal(at(120))
	a.Add(1, web(121, 121))
	a.Seal(at(180))
	same(t, "all", shortLines(next(t, all).Records), `
eni-00000000000000001 10.0.1.66 40000 80 6 4 216 1 60 ACCEPT 2 OK
eni-00000000000000001 - - - - - - 60 120 - - NODATA
eni-00000000000000001 10.0.1.66 40000 80 6 4 216 121 180 ACCEPT 2 OK`)
	if b := next(t, flows); len(b.Records) != 2 || b.Lost != 0 {
		t.Errorf("%+v", b)
	}
	a.Seal(at(240)) // nothing that flows takes
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := flows.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", b, err)
	}
	if b := next(t, all); len(b.Records) != 1 {
		t.Errorf("%+v", b)
	}
}

func TestSubscribeLive(t *testing.T) {
	a := newTest(Config{})
	live := a.Subscribe(Subscribe{Live: true, Filter: Filter{Action: Reject}})
	a.Add(1, web(1, 1))
	a.Add(1, change(web(2, 2), func(f *Flow) { f.Action = Reject }))
	a.Add(1, change(web(3, 3), func(f *Flow) { f.Action, f.Rule = Reject, 9 }))
	b := next(t, live)
	same(t, "each call", shortLines(b.Records), `
eni-00000000000000001 10.0.1.66 40000 80 6 4 216 2 60 REJECT 2 OK
eni-00000000000000001 10.0.1.66 40000 80 6 4 216 3 60 REJECT 2 OK`)
	if b.Records[1].Rule != 9 {
		t.Errorf("rule %d", b.Records[1].Rule)
	}
	live.Close()
	a.Add(1, web(4, 4))
	if got := a.subscribers.liveCount.Load(); got != 0 {
		t.Errorf("%d live followers", got)
	}
}

func TestASlowFollowerIsToldOfItsLosses(t *testing.T) {
	a := newTest(Config{})
	slow := a.Subscribe(Subscribe{Live: true, Buffer: 3})
	for n := range int64(5) {
		a.Add(1, web(n, n))
	}
	b := next(t, slow)
	if len(b.Records) != 3 || b.Lost != 2 || b.Records[0].First != at(2) || b.Records[2].First != at(4) {
		t.Errorf("%+v", b)
	}
	if got := a.Stats().Lost; got != 2 {
		t.Errorf("counter says %d", got)
	}
	a.Add(1, web(9, 9))
	if b := next(t, slow); len(b.Records) != 1 || b.Lost != 0 || b.Records[0].First != at(9) {
		t.Errorf("%+v", b)
	}
}

func TestCloseWakesTheFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTest(Config{})
		s := a.Subscribe(Subscribe{})
		done := false
		go func() {
			if _, err := s.Next(context.Background()); !errors.Is(err, io.EOF) {
				t.Errorf("%v", err)
			}
			done = true
		}()
		synctest.Wait() // it waits for records
		s.Close()
		s.Close()
		synctest.Wait()
		a.Seal(at(60))
		if !done || len(a.subscribers.all) != 0 {
			t.Error("still subscribed")
		}
	})
}

// TestFollowersUnderLoad has a follower that keeps count while many add: what it got and what it was
// told it lost is all there was.
func TestFollowersUnderLoad(t *testing.T) {
	const workers, each = 4, 2000
	a := newTest(Config{})
	s := a.Subscribe(Subscribe{Live: true, Buffer: 50})
	var adders, follower sync.WaitGroup
	var got uint64
	follower.Go(func() {
		for got < workers*each {
			b, err := s.Next(context.Background())
			if err != nil {
				return
			}
			got += uint64(len(b.Records)) + b.Lost
		}
	})
	for range workers {
		adders.Go(func() {
			for n := range int64(each) {
				a.Add(1, web(n%60, n%60))
			}
		})
	}
	adders.Wait()
	follower.Wait()
	if got != workers*each {
		t.Errorf("%d of %d", got, workers*each)
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		Accept.String(): "ACCEPT", Reject.String(): "REJECT", Action(0).String(): "-",
		OK.String(): "OK", NoData.String(): "NODATA", SkipData.String(): "SKIPDATA",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

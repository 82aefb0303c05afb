//go:build linux

package e2e

import (
	"encoding/json"
	"io"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

const floodLab = `
lab: flood
vpcs:
  main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24, b: 10.0.2.0/24 } }
security-groups:
  sender: {}
  receiver: { ingress: [udp 20000-20399 from sender] }
instances:
  sender-1: { subnet: a, ip: 10.0.1.10, groups: [sender] }
  receiver-1: { subnet: b, ip: 10.0.2.10, groups: [receiver] }
`

// A flood of 100,000 flows that are open at once: each of so many source ports to each of so many destination ports.
const (
	floodSources      = 250
	floodDestinations = 400
	floodRounds       = 2
	firstSource       = 10000
	firstDestination  = 20000
	floodFlows        = floodSources * floodDestinations
)

// TestFlood opens 100,000 UDP flows over real TAPs, paced so that no kernel's buffer runs over, two datagrams
// each. What was sent has to be what arrived and what was dropped by name, and what the published records add up to.
func TestFlood(t *testing.T) {
	needsRoot(t)
	h := newHost(t)
	p := h.up(h.lab(floodLab), "--driver", "netns")
	sink, stop := h.piped(on("receiver-1", "sink", "10.0.2.10", itoa(firstDestination), itoa(floodDestinations))...)
	sink.await(&sink.out, "sinking\n")
	sent := unmarshal(t, h.must(on("sender-1", "flood", "10.0.2.10", itoa(firstSource), itoa(floodSources), itoa(firstDestination),
		itoa(floodDestinations), itoa(floodRounds))...))
	var st agent.Status
	h.json(&st, "status")
	io.WriteString(stop, "\n")
	if code := sink.wait(patience); code != 0 {
		t.Fatalf("exit code %d: %s", code, sink.err.String())
	}
	_, rest, _ := strings.Cut(sink.out.String(), "\n")
	taken := unmarshal(t, rest)

	if want := uint64(floodRounds * floodFlows); sent.Packets != want || sent.Kernel["OutDatagrams"] != want || sent.Kernel["SndbufErrors"] != 0 {
		t.Errorf("sent %+v, want %d packets", sent, want)
	}
	dropped := uint64(0)
	for _, d := range st.Drops {
		dropped += d.Value
	}
	// The kernels' own losses would be the pace's fault. They are told apart, for whoever has to find one.
	lost := sent.Kernel["tx_dropped"] + taken.Kernel["rx_dropped"] + taken.Kernel["RcvbufErrors"] + taken.Kernel["InErrors"] + taken.Kernel["NoPorts"]
	if sent.Packets != taken.Packets+dropped || dropped != 0 || lost != 0 || taken.Flows != floodFlows || taken.Bytes != sent.Bytes {
		t.Errorf("sent %d packets (%d bytes); taken %d (%d bytes) of %d flows; dropped %+v; lost in kernels %d\nsender %v\nreceiver %v",
			sent.Packets, sent.Bytes, taken.Packets, taken.Bytes, taken.Flows, st.Drops, lost, sent.Kernel, taken.Kernel)
	}
	if st.Conntrack.Halves < 2*floodFlows || st.Conntrack.Full != 0 || st.Conntrack.Evicted != 0 {
		t.Errorf("%d halves after %d flows: %+v", st.Conntrack.Halves, floodFlows, st.Conntrack)
	}
	p.stop()
	h.checkFloodRecords(t, &sent)
}

func unmarshal(t *testing.T, text string) (v tally) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return v
}

// checkFloodRecords adds up the published files: for each interface, each flow's packets, and the bytes of all.
func (h *host) checkFloodRecords(t *testing.T, sent *tally) {
	t.Helper()
	_, lines := h.published()
	packets := map[string]map[string]int{} // by interface and flow
	var total = map[string]tally{}
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) != 14 || f[13] != "OK" || f[3] == "-" {
			if len(f) == 14 && f[13] == "NODATA" {
				continue
			}
			t.Fatalf("a record of something else: %q", line)
		}
		if f[3] != "10.0.1.10" || f[4] != "10.0.2.10" || f[7] != "17" || f[12] != "ACCEPT" {
			t.Fatalf("a record of something else: %q", line)
		}
		n, err := strconv.Atoi(f[8])
		if err != nil {
			t.Fatal(err)
		}
		bytes, err := strconv.Atoi(f[9])
		if err != nil {
			t.Fatal(err)
		}
		eni := f[2]
		if packets[eni] == nil {
			packets[eni] = map[string]int{}
		}
		packets[eni][f[5]+" "+f[6]] += n
		sum := total[eni]
		sum.Packets += uint64(n)
		sum.Bytes += uint64(bytes)
		total[eni] = sum
	}
	if len(packets) != 2 {
		t.Fatalf("records of %d interfaces, want those of both", len(packets))
	}
	for eni, flows := range packets {
		if len(flows) != floodFlows {
			t.Errorf("%s: records of %d flows, want %d", eni, len(flows), floodFlows)
		}
		wrong := 0
		for n := range maps.Values(flows) {
			if n != floodRounds {
				wrong++
			}
		}
		// bytes are those of IP packets: 28 of headers and the data
		if want := sent.Bytes + 28*sent.Packets; wrong != 0 || total[eni].Packets != sent.Packets || total[eni].Bytes != want {
			t.Errorf("%s: records of %d packets and %d bytes, want %d and %d; %d flows have another count than %d",
				eni, total[eni].Packets, total[eni].Bytes, sent.Packets, want, wrong, floodRounds)
		}
	}
}

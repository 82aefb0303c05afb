//go:build linux

package e2e

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

// kernelLab has two instances in different subnets, which talk through the kernel's own stack.
const kernelLab = `
lab: kernel
vpcs:
  main:
    cidr: 10.0.0.0/16
    subnets: { near: 10.0.1.0/24, far: 10.0.2.0/24 }
security-groups:
  client: {}
  server: { ingress: [ping from client, tcp 9000 from client, udp 9001 from client, tcp 5001 from client], egress: [] }
instances:
  client-1: { subnet: near, ip: 10.0.1.10, groups: [client] }
  server-1: { subnet: far, ip: 10.0.2.10, groups: [server], listen: [9000, 9001/udp, 9002] }
`

// kernel brings kernelLab up.
func kernel(t *testing.T) *host {
	t.Helper()
	needsRoot(t)
	h := newHost(t)
	h.up(h.lab(kernelLab), "--driver", "netns")
	return h
}

func TestPing(t *testing.T) {
	needsRoot(t)
	needsProgram(t, "ping", "iputils-ping")
	h := kernel(t)
	for to, words := range map[string]string{
		"10.0.2.10": "3 packets transmitted, 3 received, 0% packet loss",
		"server-1":  "3 packets transmitted, 3 received, 0% packet loss", // by the instance's hosts file
		"10.0.1.1":  "3 packets transmitted, 3 received, 0% packet loss", // the router
	} {
		r := h.run("exec", "client-1", "--", "ping", "-c", "3", "-i", "0.05", "-W", "2", to)
		if r.code != 0 || !strings.Contains(r.out, words) {
			t.Errorf("%v", r)
		}
	}
	// server has no egress rule: it answers, and asks nobody.
	if r := h.run("exec", "server-1", "--", "ping", "-c", "1", "-W", "1", "10.0.1.10"); r.code != 1 || !strings.Contains(r.out, "1 packets transmitted, 0 received") {
		t.Errorf("%v", r)
	}
	rows := h.flows("--proto", "icmp")
	want := []string{
		"client-1 egress 10.0.1.10 > 10.0.2.10:0 ACCEPT 6 504", // 84 bytes: 20 of IP, 8 of ICMP, 56 of data
		"client-1 ingress 10.0.2.10 > 10.0.1.10:0 ACCEPT 6 504",
		"server-1 egress 10.0.2.10 > 10.0.1.10:0 ACCEPT 6 504",
		"server-1 egress 10.0.2.10 > 10.0.1.10:0 REJECT 1 84",
		"server-1 ingress 10.0.1.10 > 10.0.2.10:0 ACCEPT 6 504",
	}
	if got := sums(rows); !slices.Equal(got, want) {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestBulk(t *testing.T) {
	h := kernel(t)
	server := h.start(nil, on("server-1", "take", "10.0.2.10:5001")...)
	server.await(&server.out, "listening")
	const gibibyte = 1 << 30
	var sent, taken bulk
	if err := json.Unmarshal([]byte(h.must(on("client-1", "give", "10.0.2.10:5001", itoa(gibibyte))...)), &sent); err != nil {
		t.Fatal(err)
	}
	if code := server.wait(patience); code != 0 {
		t.Fatalf("exit code %d: %s", code, server.err.String())
	}
	_, rest, _ := strings.Cut(server.out.String(), "\n")
	if err := json.Unmarshal([]byte(rest), &taken); err != nil {
		t.Fatalf("%v: %s", err, rest)
	}
	if sent.Bytes != gibibyte || sent != taken {
		t.Errorf("sent %+v, taken %+v", sent, taken)
	}
	// Of what crossed, the records count wire packets and their bytes, alike on both sides.
	counts := map[string]uint64{}
	for _, r := range h.flows("--port", "5001") {
		if r.Action != "ACCEPT" {
			t.Errorf("%+v", r)
		}
		counts[r.At+" "+r.Direction+" packets"] += r.Packets
		counts[r.At+" "+r.Direction+" bytes"] += r.Bytes
	}
	for _, what := range []string{"packets", "bytes"} {
		there, back := counts["client-1 egress "+what], counts["client-1 ingress "+what]
		if there != counts["server-1 ingress "+what] || back != counts["server-1 egress "+what] || there == 0 || back == 0 {
			t.Errorf("%s: %v", what, counts)
		}
	}
	packets, bytes := counts["client-1 egress packets"], counts["client-1 egress bytes"]
	// No packet is larger than the MTU, and none has fewer than 40 bytes beside its data.
	if bytes < gibibyte+40*packets || bytes > 9001*packets || packets < gibibyte/8949 {
		t.Errorf("%d packets of together %d bytes for %d bytes of data", packets, bytes, gibibyte)
	}
}

func TestUDPEcho(t *testing.T) {
	h := kernel(t)
	if out := h.must(on("client-1", "echo", "10.0.2.10:9001")...); out != "5 of 5 came back\n" {
		t.Errorf("%q", out)
	}
	want := []string{ // 1+17+1000+1472+8000 bytes of data, 28 bytes of headers each
		"client-1 egress 10.0.1.10 > 10.0.2.10:9001 ACCEPT 5 10630",
		"server-1 ingress 10.0.1.10 > 10.0.2.10:9001 ACCEPT 5 10630",
	}
	if got := sums(h.flows("--port", "9001", "--addr", "server-1")); !slices.Equal(got[:min(len(got), 1)], want[:1]) || !slices.Contains(got, want[1]) || len(got) != 4 {
		t.Errorf("records\n%s", strings.Join(got, "\n"))
	}
}

func TestNotAllowed(t *testing.T) {
	h := kernel(t)
	came := h.connects("client-1", "10.0.2.10:9002", "10.0.2.10:9000")
	if came["10.0.2.10:9002"] != "timeout" || came["10.0.2.10:9000"] != "connected" {
		t.Errorf("%v", came)
	}
	want := []string{
		"client-1 egress 10.0.1.10 > 10.0.2.10:9002 ACCEPT 1 60",
		"server-1 ingress 10.0.1.10 > 10.0.2.10:9002 REJECT 1 60",
	}
	if got := sums(h.flows("--port", "9002")); !slices.Equal(got, want) {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// A port that is allowed, where nobody listens: the host itself says no.
	if came := h.connects("client-1", "10.0.2.10:5001"); came["10.0.2.10:5001"] != "refused" {
		t.Errorf("%v", came)
	}
}

// TestRuleChanges holds a connection of two kernels open while its rule goes and comes back.
func TestRuleChanges(t *testing.T) {
	h := kernel(t)
	const server = "10.0.2.10:9000"
	held, w := h.piped(on("client-1", "hold", server)...)
	held.await(&held.out, "open 10.0.1.10:")
	send := func(line string) {
		t.Helper()
		io.WriteString(w, line+"\n")
		held.await(&held.out, "back "+line)
	}
	send("one")
	var res agent.RuleResult
	h.json(&res, "revoke", "server", "tcp 9000 from client")
	if len(res.Rules) != 1 || res.Surviving < 1 {
		t.Errorf("revoke: %+v", res)
	}
	send("two")
	if came := h.connects("client-1", server); came[server] != "timeout" {
		t.Errorf("a new connection without its rule: %v", came)
	}
	send("three")
	h.must("authorize", "server", "tcp 9000 from 10.0.1.0/24")
	if came := h.connects("client-1", server); came[server] != "connected" {
		t.Errorf("a new connection with its rule back: %v", came)
	}
	send("four")
	w.Close()
	if code := held.wait(patience); code != 0 {
		t.Errorf("exit code %d: %s", code, held.err.String())
	}
}

// connects has an instance's kernel connect to addresses, and gives what came of each.
func (h *host) connects(from string, addrs ...string) map[string]string {
	h.t.Helper()
	came := map[string]string{}
	if err := json.Unmarshal([]byte(h.must(on(from, append([]string{"connect"}, addrs...)...)...)), &came); err != nil {
		h.t.Fatal(err)
	}
	return came
}

// flows gives records.
func (h *host) flows(args ...string) []agent.FlowRow {
	h.t.Helper()
	var rows []agent.FlowRow
	h.json(&rows, append([]string{"flows"}, args...)...)
	return rows
}

// sums adds records up that differ only in the source port (or are of different windows), sorted.
func sums(rows []agent.FlowRow) []string {
	packets, bytes := map[string]uint64{}, map[string]uint64{}
	for _, r := range rows {
		port := r.Destination.Port
		if r.Source.Port != 0 && r.Source.Port < 30000 && port > r.Source.Port { // an answer
			port = 0
		}
		name := r.At + " " + r.Direction + " " + r.Source.Address.String() + " > " + r.Destination.Address.String() + ":" + itoa(port) + " " + r.Action
		packets[name] += r.Packets
		bytes[name] += r.Bytes
	}
	var out []string
	for name := range packets {
		out = append(out, name+" "+itoa(int(packets[name]))+" "+itoa(int(bytes[name])))
	}
	slices.Sort(out)
	return out
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/netstack"
	"github.com/vpclab/vpclab/vpc"
)

// fakeVM is a driver of machines that a test ends as it likes. Their network is netstack's.
type fakeVM struct {
	*netstack.Driver
	mu   sync.Mutex
	fail error           // of Start
	last *fakeMachine    // that was started
	vms  []*instances.VM // what Start was given
}

type fakeMachine struct {
	instances.Instance
	ended chan struct{}
	once  sync.Once
	why   string
}

func (f *fakeVM) Start(ctx context.Context, s instances.Spec) (instances.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.vms = append(f.vms, s.VM)
	if f.fail != nil {
		return nil, fmt.Errorf("machine: %w", f.fail)
	}
	in, err := f.Driver.Start(ctx, s)
	if err != nil {
		return nil, err
	}
	f.last = &fakeMachine{Instance: in, ended: make(chan struct{})}
	return f.last, nil
}

func (m *fakeMachine) end(why string) {
	m.once.Do(func() { m.why = why; close(m.ended) })
}

func (m *fakeMachine) Ended() <-chan struct{} { return m.ended }
func (m *fakeMachine) Why() string            { return m.why }
func (m *fakeMachine) Opaque() error          { return errors.New("it is a machine") }
func (m *fakeMachine) Close() error           { m.end(""); return m.Instance.Close() }
func (m *fakeMachine) Console(ctx context.Context, s instances.IO) error {
	io.WriteString(s.Stdout, "login: ")
	<-ctx.Done()
	return ctx.Err()
}

const machineLab = `
lab: machines
vpcs: { main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24 } } }
security-groups:
  all: { ingress: [all from 10.0.0.0/16] }
instances:
  vm-1: { subnet: a, ip: 10.0.1.10, groups: all, driver: qemu, kernel: boot/vmlinuz, initrd: /boot/initrd.img }
  host-1: { subnet: a, ip: 10.0.1.20, groups: all, listen: 80 }
  host-2: { subnet: a, ip: 10.0.1.30, groups: all }
`

// machines is a node with the fake driver, and the lab.
func machines(t *testing.T, fail error) (*node, *fakeVM) {
	t.Helper()
	n := testNode(t)
	f := &fakeVM{Driver: netstack.New(), fail: fail}
	n.drivers["qemu"] = f
	file := api.File{Name: "lab.yaml", Path: "/home/ann/lab.yaml", Data: []byte(machineLab)}
	if _, err := n.Apply(t.Context(), &api.ApplyRequest{File: file}, quiet); err != nil {
		t.Fatal(err)
	}
	return n, f
}

func (n *node) row(t *testing.T, name string) api.InstanceRow {
	t.Helper()
	st, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range st.Instances {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("there is no %s", name)
	return api.InstanceRow{}
}

// is waits until an instance has a state and a problem.
func (n *node) is(t *testing.T, name, state, problem string) {
	t.Helper()
	var r api.InstanceRow
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if r = n.row(t, name); r.State == state && r.Problem == problem {
			return
		}
	}
	t.Fatalf("%s is %s with the problem %q; want %s, %q", name, r.State, r.Problem, state, problem)
}

func (n *node) answers(t *testing.T) {
	t.Helper()
	p, err := n.Probe(t.Context(), &api.ProbeRequest{From: "host-2", To: api.Target{Host: "host-1", Port: 80}})
	if err != nil || p.Outcome != api.Answered {
		t.Errorf("host-1: %+v, %v", p, err)
	}
}

func wantCode(t *testing.T, err error, code, words string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, words) {
		t.Errorf("%v, want %s with %q", err, code, words)
	}
}

// TestFaultOfOneInstance: the rest of the lab goes on, and the one can be started when it is mended.
func TestFaultOfOneInstance(t *testing.T) {
	n, f := machines(t, instances.Faultf("kernel %s: no such file", "x"))
	n.is(t, "vm-1", vpc.StateStopped, "kernel x: no such file")
	n.is(t, "host-1", vpc.StateRunning, "")
	n.answers(t)
	st, _ := n.Status(t.Context())
	if st.Labs[0].Running != 2 || st.Labs[0].Instances != 3 {
		t.Errorf("%+v", st.Labs[0])
	}
	_, err := n.Power(t.Context(), &api.PowerRequest{Instance: "vm-1", Action: api.PowerStart})
	if err == nil || !strings.Contains(err.Error(), "kernel x: no such file") {
		t.Errorf("start: %v", err)
	}
	n.is(t, "vm-1", vpc.StateStopped, "instance vm-1: machine: kernel x: no such file")
	_, err = n.ExecTarget(t.Context(), &api.ExecRequest{Instance: "vm-1", Argv: []string{"ls"}})
	wantCode(t, err, api.CodeUnsupported, "instance vm-1 does not run: ")
	f.fail = nil
	row, err := n.Power(t.Context(), &api.PowerRequest{Instance: "vm-1", Action: api.PowerStart})
	if err != nil || row.State != vpc.StateRunning || row.Problem != "" {
		t.Errorf("%+v, %v", row, err)
	}
}

// TestOtherErrorsEndTheLab: what is not the instance's own fault would be so for all.
func TestOtherErrorsEndTheLab(t *testing.T) {
	n := testNode(t)
	n.drivers["qemu"] = &fakeVM{Driver: netstack.New(), fail: errors.New("out of memory")}
	_, err := n.Apply(t.Context(), &api.ApplyRequest{File: api.File{Name: "lab.yaml", Data: []byte(machineLab)}}, quiet)
	if err == nil || !strings.Contains(err.Error(), "out of memory") || len(n.store.View().Labs()) != 0 {
		t.Errorf("%v; labs %v", err, n.store.View().Labs())
	}
}

// TestInstanceEnds: the agent notices, says why, and starts it anew.
func TestInstanceEnds(t *testing.T) {
	n, f := machines(t, nil)
	for _, why := range []string{"QEMU ended (signal: killed)", ""} {
		n.is(t, "vm-1", vpc.StateRunning, "")
		f.last.end(why)
		n.is(t, "vm-1", vpc.StateStopped, why)
		n.answers(t)
		if d, err := n.Show(t.Context(), &api.ShowRequest{Object: "vm-1"}); err != nil || d.Instance.Info["driver"] != "netstack" {
			t.Errorf("what is left of it is not shown: %v", err)
		}
		row, err := n.Power(t.Context(), &api.PowerRequest{Instance: "vm-1", Action: api.PowerRestart})
		if err != nil || row.State != vpc.StateRunning || row.Problem != "" {
			t.Errorf("%+v, %v", row, err)
		}
	}
	if _, err := n.Down(t.Context(), &api.DownRequest{}, quiet); err != nil {
		t.Error(err)
	}
}

// TestEndsAtOnce: an instance that ends while the lab comes up is not taken to run.
func TestEndsAtOnce(t *testing.T) {
	for range 20 {
		n, f := machines(t, nil)
		go f.last.end("gone")
		n.is(t, "vm-1", vpc.StateStopped, "gone")
		if _, err := n.Power(t.Context(), &api.PowerRequest{Instance: "vm-1", Action: api.PowerStart}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPowerOfAnyInstance(t *testing.T) {
	n, _ := machines(t, nil)
	do := func(action, want string) {
		t.Helper()
		for range 2 { // the second time nothing is to be done
			row, err := n.Power(t.Context(), &api.PowerRequest{Instance: "host-1", Lab: "machines", Action: action})
			if err != nil || row.State != want {
				t.Fatalf("%s: %+v, %v", action, row, err)
			}
		}
	}
	do(api.PowerStop, vpc.StateStopped)
	p, err := n.Probe(t.Context(), &api.ProbeRequest{From: "host-2", To: api.Target{Host: "host-1", Port: 80}})
	if err != nil || p.Outcome == api.Answered {
		t.Errorf("a stopped instance: %+v, %v", p, err)
	}
	do(api.PowerStart, vpc.StateRunning)
	n.answers(t)
	do(api.PowerRestart, vpc.StateRunning)
	n.answers(t)
	_, err = n.Power(t.Context(), &api.PowerRequest{Instance: "host-1", Action: "kick"})
	wantCode(t, err, api.CodeBadRequest, `"kick" is none of start, stop and restart`)
	_, err = n.Power(t.Context(), &api.PowerRequest{Instance: "host-9", Action: api.PowerStop})
	wantCode(t, err, api.CodeUnknownObject, "host-9")
}

// TestOpaqueInstances: what needs an instance's inside is refused with its own words.
func TestOpaqueInstances(t *testing.T) {
	n, _ := machines(t, nil)
	_, err := n.Probe(t.Context(), &api.ProbeRequest{From: "vm-1", To: api.Target{Host: "host-1", Port: 80}})
	wantCode(t, err, api.CodeUnsupported, "it is a machine")
	_, err = n.ExecTarget(t.Context(), &api.ExecRequest{Instance: "vm-1", Argv: []string{"ls"}})
	wantCode(t, err, api.CodeUnsupported, "it is a machine")
	_, err = n.Exec(t.Context(), &api.ExecRequest{Instance: "vm-1", Argv: []string{"ls"}}, api.Streams{})
	wantCode(t, err, api.CodeUnsupported, "it is a machine")
	if p, err := n.Probe(t.Context(), &api.ProbeRequest{From: "host-1", To: api.Target{Host: "vm-1"}}); err != nil || p.Outcome != api.Answered {
		t.Errorf("towards it: %+v, %v", p, err)
	}
}

func TestConsoleOfInstances(t *testing.T) {
	n, _ := machines(t, nil)
	err := n.Console(t.Context(), &api.ConsoleRequest{Instance: "host-1"}, api.Streams{Stdout: io.Discard})
	wantCode(t, err, api.CodeUnsupported, "host-1 has no console: it is a netstack instance")
	ctx, cancel := context.WithCancel(t.Context())
	var out strings.Builder
	cancel()
	if err := n.Console(ctx, &api.ConsoleRequest{Instance: "vm-1"}, api.Streams{Stdout: &out}); err != nil || out.String() != "login: " {
		t.Errorf("%v, %q: leaving is no error", err, out.String())
	}
}

// TestPathsOfAMachine: they are relative to the lab file's folder. The same file again changes nothing.
func TestPathsOfAMachine(t *testing.T) {
	n, f := machines(t, nil)
	vm := f.vms[0]
	if vm.Kernel != "/home/ann/boot/vmlinuz" || vm.Initrd != "/boot/initrd.img" || vm.Dir != "/home/ann" {
		t.Errorf("%+v", vm)
	}
	apply := func(text string) []api.Change {
		t.Helper()
		file := api.File{Name: "lab.yaml", Path: "/home/ann/lab.yaml", Data: []byte(text)}
		res, err := n.Apply(t.Context(), &api.ApplyRequest{File: file}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return res.Changes
	}
	if c := apply(machineLab); len(c) != 0 {
		t.Errorf("applied again: %+v", c)
	}
	if c := apply(strings.Replace(machineLab, "boot/vmlinuz", "boot/vmlinuz-2", 1)); len(c) != 2 || c[0].Name != "vm-1" {
		t.Errorf("another kernel: %+v", c)
	}
	if vm := f.vms[len(f.vms)-1]; vm.Kernel != "/home/ann/boot/vmlinuz-2" {
		t.Errorf("%+v", vm)
	}
	n.is(t, "vm-1", vpc.StateRunning, "")
}

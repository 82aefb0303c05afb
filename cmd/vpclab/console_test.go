package main

import (
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

func TestConsole(t *testing.T) {
	for name, c := range map[string]struct{ in, typed string }{
		"end of input":     {"root\n", `"root\n"`},
		"Ctrl-]":           {"root\n\x1dnot for the machine", ``}, // what was typed just before may be lost
		"only Ctrl-]":      {"\x1d", ``},
		"other keys go in": {"\x03\x04\x1b[A\x00", `"\x03\x04\x1b[A\x00"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).withAgent()
			r.in = c.in
			r.want(t, r.run("console", "vm-1", "--lab", "shop"), 0)
			if out := r.out.String(); c.typed != "" && out != "vm-1 login: "+c.typed+" was typed\n" {
				t.Errorf("%q", out)
			}
			if strings.Contains(r.out.String(), "not for the machine") {
				t.Errorf("what follows Ctrl-] was sent: %q", r.out.String())
			}
		})
	}
}

func TestUntilKey(t *testing.T) {
	left := 0
	u := &untilKey{r: strings.NewReader("ab\x1dcd"), key: leaveKey, leave: func() { left++ }}
	got, err := io.ReadAll(u)
	if err != nil || string(got) != "ab" || left != 1 {
		t.Errorf("%q, %v, left %d times", got, err, left)
	}
	if n, err := u.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
}

func TestPowerCommands(t *testing.T) {
	for _, verb := range []string{"start", "stop", "restart"} {
		r := newRig(t).withAgent()
		r.want(t, r.run(verb, "vm-1", "--lab", "shop"), 0)
		want := &agent.PowerRequest{Lab: "shop", Instance: "vm-1", Action: verb}
		if asked := r.host.s.asked[len(r.host.s.asked)-1]; !reflect.DeepEqual(asked, want) {
			t.Errorf("%s asked %+v", verb, asked)
		}
		state := map[string]string{"stop": "stopped"}[verb]
		if state == "" {
			state = "running"
		}
		if !strings.Contains(r.out.String(), state) {
			t.Errorf("%s printed %s", verb, r.out.String())
		}
		r = newRig(t).withAgent()
		r.host.s.fail = &agent.Error{Code: agent.CodeUnsupported, Message: "kernel /x: no such file or directory"}
		r.want(t, r.run(verb, "vm-1"), 1, "kernel /x: no such file or directory")
	}
}

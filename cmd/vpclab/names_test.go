package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

// TestFilesAreToldApart: a file is the same however it is named, and another one is not.
func TestFilesAreToldApart(t *testing.T) {
	r := newRig(t).withAgent()
	file := r.file("lab: x")
	dir := filepath.Dir(file)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	want, err := filepath.EvalSymlinks(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{file: want, dir: want, link: want, dir + "/../" + filepath.Base(dir) + "/lab.yaml": want, "-": ""} {
		r.run("apply", name)
		q := r.host.s.asked[len(r.host.s.asked)-1].(*agent.ApplyRequest)
		if q.File.Path != want || q.Adopt {
			t.Errorf("%s: path %q, adopt %v; want %q", name, q.File.Path, q.Adopt, want)
		}
	}
	r.run("apply", file, "--adopt")
	if q := r.host.s.asked[len(r.host.s.asked)-1].(*agent.ApplyRequest); !q.Adopt {
		t.Error("--adopt is not passed on by apply")
	}
	r.upAndStop(file, "--adopt")
	for _, q := range r.host.s.asked {
		if a, ok := q.(*agent.ApplyRequest); ok && a.File.Path == want && a.Adopt {
			return
		}
	}
	t.Error("--adopt is not passed on by up")
}

func TestAnotherFileIsAUsageError(t *testing.T) {
	r := newRig(t).withAgent()
	r.host.s.failures = map[string]error{"apply": &agent.Error{Code: agent.CodeOtherFile, Message: "lab x is up already, from /a", Fix: "let it take the lab over with `vpclab apply --adopt`"}}
	r.want(t, r.run("apply", r.file("lab: x")), 2, "lab x is up already, from /a", "--adopt")
}

// TestCompletionOfNamesOfSeveralLabs: a name that two labs have is completed so that it can be used.
func TestCompletionOfNamesOfSeveralLabs(t *testing.T) {
	r := newRig(t).withAgent()
	r.host.s.names = []agent.Name{
		{Kind: "instance", Name: "app-1", Lab: "red", Detail: "10.0.1.20"}, {Kind: "instance", Name: "web-1", Lab: "red"},
		{Kind: "instance", Name: "web-1", Lab: "blue"},
	}
	r.run("__complete", "exec", "")
	if got, want := r.out.String(), "app-1\t10.0.1.20\nred/web-1\nblue/web-1\n:4\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFollowersOfSeveralLabsAreToldWhich: a table that grows has the column from the beginning, if it is needed.
func TestFollowersOfSeveralLabsAreToldWhich(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		labs int
		want bool
	}{
		"one lab":       {[]string{"flows", "-f"}, 1, false},
		"two labs":      {[]string{"flows", "-f"}, 2, true},
		"one asked for": {[]string{"flows", "-f", "--lab", "red"}, 2, false},
	} {
		r := newRig(t).withAgent()
		r.host.s.labs = make([]agent.LabRow, c.labs)
		r.host.s.follow = func(context.Context) error { return nil }
		r.run(c.args...)
		head, _, _ := strings.Cut(r.out.String(), "\n")
		if got := strings.Contains(head, "LAB"); got != c.want {
			t.Errorf("%s: the head is %q", name, head)
		}
	}
}

func TestDoctorExitCodes(t *testing.T) {
	r := newRig(t)
	r.want(t, r.run("doctor"), 0)
	r.host.lacking = 2
	r.want(t, r.run("doctor"), 3)
	r.dir = ""
	r.want(t, r.run("doctor"), 2, "name one with --data-dir")
	if r.host.ran != 0 {
		t.Error("an agent was started")
	}
}

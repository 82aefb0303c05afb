//go:build linux

package e2e

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

// redLab and blueLab have the same addresses and names. In red the web answers, in blue it does not.
const redLab = `
lab: red
vpcs:
  main: { cidr: 10.0.0.0/16, subnets: { hall: 10.0.1.0/24 } }
security-groups:
  web: { ingress: [http from app, ping from app] }
  app: {}
instances:
  web-1: { subnet: hall, ip: 10.0.1.10, groups: [web], listen: [80] }
  app-1: { subnet: hall, ip: 10.0.1.20, groups: [app] }
tests:
  - { from: app-1, to: web-1:80, expect: answered }
`

var blueLab = strings.NewReplacer("lab: red", "lab: blue", "http from app, ping from app", "", "expect: answered", "expect: reject").Replace(redLab)

// TestLabsSideBySide: two labs on one agent, with the same names and addresses, as the driver's instances.
func TestLabsSideBySide(t *testing.T) {
	for _, driver := range []string{"netns", "netstack"} {
		t.Run(driver, func(t *testing.T) {
			if driver == "netns" {
				needsRoot(t)
			}
			needsProgram(t, "ping", "iputils-ping")
			h := newHost(t)
			before := devices(t)
			red, blue := h.lab(redLab), h.lab(blueLab)
			h.must("up", "--detach", red, "--driver", driver)
			h.must("up", "--detach", blue, "--driver", driver)
			h.sideBySide(driver)
			spaces := map[string]space{}
			if driver == "netns" {
				spaces = h.ownNames()
			}
			h.must("down", "red")
			h.fails(2, "no lab is called red", "probe", "red/app-1", "10.0.1.1")
			for name, s := range spaces {
				left := s.traces(t)
				if lab, _, _ := strings.Cut(name, "/"); (lab == "red") != (len(left) == 0) {
					t.Errorf("after `down red`, of %s there is %q", name, left)
				}
			}
			if out := h.must("test", blue); !strings.Contains(out, "1 passed") { // names are clear again
				t.Error(out)
			}
			h.must("exec", "app-1", "--", "ping", "-c", "1", "10.0.1.1")
			h.must("down")
			h.gone(spaces, before)
		})
	}
}

// sideBySide looks at two labs that are up, through each command that takes a name.
func (h *host) sideBySide(driver string) {
	h.t.Helper()
	for lab, want := range map[string]string{"red": agent.Answered, "blue": agent.Rejected} {
		var p agent.ProbeResult
		h.json(&p, "probe", lab+"/app-1", "web-1:80")
		if p.Outcome != want {
			h.t.Errorf("%s: %s, want %s", lab, p.Outcome, want)
		}
		code := map[string]int{agent.Answered: 0, agent.Rejected: 1}[want]
		if r := h.run("exec", lab+"/app-1", "--", "ping", "-c", "1", "-W", "1", "web-1"); r.code != code {
			h.t.Errorf("%s: want exit code %d\n%v", lab, code, r)
		}
	}
	for _, args := range [][]string{{"probe", "app-1", "10.0.1.1"}, {"explain", "app-1", "10.0.1.1"}, {"exec", "app-1", "--", "ping", "-c", "1", "10.0.1.1"}, {"show", "web-1"}, {"show", "instance/web-1"},
		{"flows", "--at", "web-1"}, {"flows", "--addr", "web-1"}, {"conntrack", "--at", "web-1"}, {"conntrack", "--addr", "web-1"}} {
		at := slices.IndexFunc(args, func(a string) bool { return strings.HasSuffix(a, "-1") && a != "-1" })
		kind, name, ok := strings.Cut(args[at], "/")
		if !ok {
			kind, name = "", args[at]
		} else {
			kind += "/"
		}
		h.fails(2, "blue/"+name+", red/"+name, args...)
		args[at] = kind + "red/" + name
		h.must(args...)
	}
	h.fails(2, "blue/web, red/web", "authorize", "web", "tcp 9 from app")
	h.must("authorize", "red/web", "tcp 9 from app")
	h.must("revoke", "web", "tcp 9 from app", "--lab", "red")
	if out := h.must("flows"); !regexp.MustCompile(`(?m)^TIME +LAB +AT `).MatchString(out) || !regexp.MustCompile(`(?m) red +app-1 +egress `).MatchString(out) {
		h.t.Errorf("flows of two labs:\n%s", out)
	}
	if out := h.must("flows", "--lab", "blue"); strings.Contains(out, "LAB") {
		h.t.Errorf("flows of one lab:\n%s", out)
	}
	var st agent.Status
	h.json(&st, "status")
	if len(st.Labs) != 2 || len(st.Instances) != 4 {
		h.t.Errorf("%s: %+v", driver, st)
	}
}

// ownNames gives the namespaces of all instances, by LAB/NAME. Names of namespaces and devices are made from ids, so no two are
// the same, and none is longer than the kernel allows.
func (h *host) ownNames() map[string]space {
	h.t.Helper()
	var st agent.Status
	h.json(&st, "status")
	out := map[string]space{}
	seen := map[string]string{}
	for _, i := range st.Instances {
		var s agent.ShowResult
		h.json(&s, "show", i.ID)
		path := s.Instance.Info["netns"]
		name := filepath.Base(path)
		if len(name) > 15 || !strings.HasSuffix(i.ID, strings.TrimPrefix(name, "vpclab-")) || seen[name] != "" {
			h.t.Errorf("%s/%s (%s) has the namespace %s; so has %q", i.Lab, i.Name, i.ID, name, seen[name])
		}
		seen[name] = i.ID
		out[i.Lab+"/"+i.Name] = space{path, inode(h.t, path)}
	}
	return out
}

// TestTwoFilesOfOneName: the second is refused until it is adopted, whatever command has it.
func TestTwoFilesOfOneName(t *testing.T) {
	h := newHost(t)
	mine, theirs := h.lab(redLab), h.lab(strings.Replace(redLab, "http from app, ", "", 1))
	h.must("up", "--detach", mine, "--driver", "netstack")
	for _, args := range [][]string{{"up", "--detach", theirs}, {"apply", theirs}, {"apply", "--dry-run", theirs}, {"test", theirs}} {
		h.fails(2, "lab red is up already, from "+mine+"; this is "+theirs, args...)
	}
	if r := h.feed(redLab, "apply", "-"); r.code != 2 || !strings.Contains(r.err, "this is standard input") {
		t.Errorf("standard input is a file of its own\n%v", r)
	}
	h.must("apply", filepath.Dir(mine)) // the same file, named otherwise
	h.must("test", mine)
	h.must("apply", "--adopt", theirs)
	h.fails(2, "from "+theirs, "apply", mine)
	if r := h.run("test", theirs); r.code != 1 {
		t.Errorf("their file is up, without http\n%v", r)
	}
	h.must("down", "red")
	h.must("up", "--detach", mine, "--driver", "netstack")
}

// TestManyLabs: more labs than AWS gives VPCs to an account, all with one range.
func TestManyLabs(t *testing.T) {
	h := newHost(t)
	const labs = 8
	for i := range labs {
		h.must("up", "--detach", "--no-tests", "--driver", "netstack", h.lab(strings.Replace(redLab, "lab: red", "lab: lab-"+itoa(i), 1)))
	}
	for i := range labs {
		var p agent.ProbeResult
		if h.json(&p, "probe", "lab-"+itoa(i)+"/app-1", "web-1:80"); p.Outcome != agent.Answered {
			t.Errorf("lab-%d: %s", i, p.Outcome)
		}
	}
}

// TestExercise grades vpc-from-scratch as a teacher does: what students get fails, the solution passes.
func TestExercise(t *testing.T) {
	const dir = "examples/vpc-from-scratch/"
	for _, driver := range []string{"netns", "netstack"} {
		t.Run(driver, func(t *testing.T) {
			if driver == "netns" {
				needsRoot(t)
			}
			h := newHost(t)
			grade := func(file string) result {
				return h.run("test", dir+file, "--tests", dir+"grading/tests.yaml", "--driver", driver)
			}
			if r := grade("start.yaml"); r.code != 1 || !strings.Contains(r.out, "2 anybody may read the shop's pages") {
				t.Errorf("what students get: %v", r)
			}
			if r := grade("grading/solution.yaml"); r.code != 0 || !strings.Contains(r.out, "28 passed") || !strings.Contains(r.out, "rules used: 9 of 9") {
				t.Errorf("the solution: %v", r)
			}
		})
	}
}

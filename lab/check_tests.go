package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

// testChecker checks tests. What is wrong with their form is a problem of the file. So is what they name and the lab
// does not have; but a file of tests may be run against a lab it was not written with (a student's), and there it is
// kept in problem, and the test or step fails.
type testChecker struct {
	*checker
	problem *string // nil: strict
}

// missing reports something that a test names and the lab does not have.
func (c testChecker) missing(path, right, wrong string, args ...any) {
	switch {
	case c.problem == nil:
		c.fail(path, right, wrong, args...)
	case *c.problem == "":
		*c.problem = fmt.Sprintf(wrong, args...) + "; " + right
	}
}

// tests checks all tests of a file; lenient says that it is one of tests alone.
func (c *checker) tests(tests []*Test, lenient bool) {
	for i, t := range tests {
		path := element("tests", i)
		if t == nil || !c.ok(path) {
			continue
		}
		if t.Steps != nil {
			c.noCheck(path)
			c.steps(t, child(path, "steps"), lenient)
			continue
		}
		tc := testChecker{checker: c}
		if lenient {
			tc.problem = &t.problem
		}
		tc.single(&t.Check, path, "")
	}
}

// noCheck reports a check beside steps.
func (c *checker) noCheck(path string) {
	for _, f := range []string{"from", "to", "expect", "because", "records"} {
		if p := child(path, f); c.given(p) {
			c.fail(p, "move it into a step", "a test with steps has no %s of its own", f)
		}
	}
}

// given says whether the file has a value at a path.
func (c *checker) given(path string) bool {
	_, ok := c.spans[path]
	return ok
}

// single checks one check. def is what it expects if it does not say; "" if it must.
func (c testChecker) single(k *Check, path string, def Expect) {
	c.from(k, path)
	c.to(k, path)
	c.expectation(k, path, def)
}

func (c testChecker) require(path, field, value, example string) bool {
	p := child(path, field)
	if value == "" && c.ok(p) {
		c.fail(path, "add "+example, "%s is missing", field)
	}
	return value != "" && c.ok(p)
}

func (c testChecker) from(k *Check, path string) {
	if !c.require(path, "from", k.From, "from: INSTANCE") {
		return
	}
	p := child(path, "from")
	name, port, err := parseFrom(k.From)
	switch {
	case err != nil:
		c.fail(p, "", "%v", err)
	case c.f.instance(name) == nil:
		c.missing(p, oneOf("instances", name, c.f.instanceNames()), "there is no instance %s", short(name))
	case c.f.sendsNothing(name):
		c.missing(p, "test what comes to it from others", "%s is %s, which sends nothing of its own for a test", name,
			map[bool]string{true: "another program's", false: "a virtual machine"}[c.f.instance(name).TAP.Name != ""])
	}
	k.Traffic.From, k.Traffic.FromPort = name, port
}

func (c testChecker) to(k *Check, path string) {
	if !c.require(path, "to", k.To, "to: INSTANCE:PORT") {
		return
	}
	p := child(path, "to")
	t, err := ParseTarget(k.To)
	switch {
	case err != nil:
		c.fail(p, "", "%v", err)
	case k.Traffic.FromPort != 0 && t.Protocol == "icmp":
		c.fail(p, "take the port away from the sender, or give the target one", "a ping has no source port")
	case t.Instance != "" && c.f.instance(t.Instance) == nil:
		c.missing(p, oneOf("instances", t.Instance, c.f.instanceNames()), "there is no instance %s", short(t.Instance))
	case t.Addr.Is6() && c.f.instance(k.Traffic.From) != nil && !c.f.instance(k.Traffic.From).IP6.IsValid():
		c.missing(p, "give it an ip6", "%s has no IPv6 address to send from", k.Traffic.From)
	case t.Addr.IsValid() && (t.Addr.IsMulticast() || t.Addr.IsUnspecified() || t.Addr.IsLoopback() || t.Addr == netip.AddrFrom4([4]byte{255, 255, 255, 255})):
		c.fail(p, "name an instance or the address of one", "%s is no address of a single host", t.Addr)
	}
	k.Traffic.To = t
}

func (c testChecker) expectation(k *Check, path string, def Expect) {
	if k.Expect == "" && def != "" {
		k.Expect = def
	}
	if c.require(path, "expect", string(k.Expect), "expect: accept, or expect: reject") {
		c.choice(child(path, "expect"), string(k.Expect), expectations...)
	}
	for i, r := range k.Records {
		p := element(child(path, "records"), i)
		switch {
		case !c.ok(p):
		case slices.Contains(k.Records[:i], r):
			c.fail(p, "take it out", "the record %s stands here a second time", r)
		case c.f.instance(r.Instance) == nil:
			c.missing(p, oneOf("instances", r.Instance, c.f.instanceNames()), "there is no instance %s", short(r.Instance))
		}
	}
}

// instance gives an instance by name, or nil.
func (f *File) instance(name string) *Instance {
	i := slices.IndexFunc(f.Instances, func(in *Instance) bool { return in.Name == name })
	if i < 0 {
		return nil
	}
	return f.Instances[i]
}

func (f *File) instanceNames() []string {
	names := make([]string, len(f.Instances))
	for i, in := range f.Instances {
		names[i] = in.Name
	}
	return names
}

// steps checks the steps of a test, and that connections are open when they are used.
func (c *checker) steps(t *Test, path string, lenient bool) {
	if len(t.Steps) == 0 && c.ok(path) {
		c.fail(path, "write at least one, or a single check", "the test has no steps")
	}
	open := map[string]bool{}
	for i, s := range t.Steps {
		p := element(path, i)
		if s == nil || !c.ok(p) {
			continue
		}
		tc := testChecker{checker: c}
		if lenient {
			tc.problem = &s.problem
		}
		tc.step(s, p, open)
	}
}

// actions are the fields that make a step what it is; a step without any is a check.
func (s *Step) actions() []string {
	var out []string
	for _, a := range []struct {
		name string
		set  bool
	}{{"open", s.Open != ""}, {"send", s.Send != ""}, {"close", s.Close != ""}, {"authorize", s.Authorize != ""}, {"revoke", s.Revoke != ""}, {"wait", s.Wait != 0}} {
		if a.set {
			out = append(out, a.name)
		}
	}
	return out
}

// allowed are the fields besides its own that each kind of step has.
var allowed = map[string][]string{
	"":          {"from", "to", "expect", "because", "records"},
	"open":      {"from", "to", "expect", "because", "records"},
	"send":      {"expect", "because", "records"},
	"close":     {},
	"authorize": {"group"},
	"revoke":    {"group"},
	"wait":      {},
}

func (c testChecker) step(s *Step, path string, open map[string]bool) {
	for _, a := range []string{"open", "send", "close", "authorize", "revoke", "wait"} {
		if !c.ok(child(path, a)) {
			return
		}
	}
	actions := s.actions()
	if len(actions) > 1 {
		c.fail(path, "make a step of each", "a step does one thing, and this one has %s", and(actions))
		return
	}
	action := strings.Join(actions, "")
	if !c.onlyAllowed(action, path) {
		return
	}
	switch action {
	case "":
		c.single(&s.Check, path, "")
	case "open":
		if open[s.Open] {
			c.fail(child(path, "open"), "close it first, or choose another name", "connection %s is open already", short(s.Open))
		}
		open[s.Open] = true
		c.single(&s.Check, path, ExpectAccept)
	case "send":
		c.isOpen(s.Send, child(path, "send"), open)
		c.expectation(&s.Check, path, ExpectAccept)
	case "close":
		c.isOpen(s.Close, child(path, "close"), open)
		delete(open, s.Close)
	case "authorize":
		c.edit(s, s.Authorize, path, "authorize")
	case "revoke":
		c.edit(s, s.Revoke, path, "revoke")
	case "wait":
		if s.Wait > time.Hour {
			c.fail(child(path, "wait"), "wait at most 1h", "a test cannot wait for %v", s.Wait)
		}
	}
}

// onlyAllowed reports a field that the kind of step does not have.
func (c testChecker) onlyAllowed(action, path string) bool {
	fields := allowed[action]
	good := true
	for _, f := range []string{"from", "to", "expect", "because", "records", "group"} {
		if c.given(child(path, f)) && !slices.Contains(fields, f) {
			right := "take it out"
			if action == "" {
				right = "add authorize or revoke, or take it out"
			} else if len(fields) > 0 {
				right = "its fields are " + and(append([]string{action}, fields...))
			}
			c.fail(child(path, f), right, "a %s step has no %s", orElse(action, "check"), f)
			good = false
		}
	}
	return good
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (c testChecker) isOpen(name, path string, open map[string]bool) {
	if !open[name] {
		var names []string
		for n := range open {
			names = append(names, n)
		}
		slices.Sort(names)
		c.fail(path, oneOf("open connections", name, names), "no connection %s is open here", short(name))
	}
}

// edit checks a rule that a step authorizes or revokes. Whether the group has it is seen when the test runs.
func (c testChecker) edit(s *Step, rule, path, action string) {
	s.Direction = directionOf(rule)
	p := child(path, action)
	ps := peers{c: c.checker, g: c.groups[s.Group]}
	if ps.g == nil {
		ps.g = &Group{}
	}
	_, err := vpc.Names{Group: ps.group, PrefixList: ps.prefixList}.ParseRule(rule, s.Direction)
	if e, ok := errors.AsType[*vpc.RuleError](err); ok {
		c.badAt(within(c.at(p), rule, e.Column-1, ""), p, e.Problem, e.Want)
	} else if ps.wrong != "" {
		c.missing(p, ps.hint, "%s", ps.wrong)
	}
	if !c.require(path, "group", s.Group, "group: NAME of the security group") {
		return
	}
	if c.groups[s.Group] == nil && s.Group != defaultGroup {
		c.missing(child(path, "group"), oneOf("security groups", s.Group, c.f.groupNames()), "there is no security group %s", short(s.Group))
	}
}

// directionOf tells a rule's direction by its first "from" or "to".
func directionOf(rule string) vpc.Direction {
	for _, word := range strings.Fields(rule) {
		switch strings.ToLower(word) {
		case "from":
			return vpc.Ingress
		case "to":
			return vpc.Egress
		}
	}
	return vpc.Ingress
}

package lab

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// checker looks for what is wrong with a file whose fields are all of the right kind. It checks a value only if the
// decoder found nothing wrong with it, so that one mistake gives one message.
type checker struct {
	*decoder
	f      *File
	groups map[string]*Group
	lists  map[string]*PrefixList
}

// at is where a path stands: the path itself, or the nearest path around it.
func (c *checker) at(path string) span {
	for {
		if at, ok := c.spans[path]; ok {
			return at
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return span{1, 1, 1}
		}
		path = path[:cut]
	}
}

// fail reports a problem with the value at a path.
func (c *checker) fail(path, right, wrong string, args ...any) {
	c.badAt(c.at(path), path, fmt.Sprintf(wrong, args...), right)
}

// ok says whether nothing is wrong so far with the value at a path.
func (c *checker) ok(path string) bool { return !c.broken[path] }

// all checks the whole file, each part after those that it names. Where a part has an element that could not be read,
// the parts that name its elements are not looked at: they would seem wrong, too.
func (c *checker) all() {
	c.lab()
	c.vpcs()
	c.prefixLists()
	if c.broken["vpcs"] || c.broken["prefix-lists"] {
		return
	}
	c.securityGroups()
	if c.broken["security-groups"] {
		return
	}
	c.instances()
	if c.broken["instances"] {
		return
	}
	c.flowLogs()
	c.tests(c.f.Tests, false)
}

func (c *checker) lab() {
	f := c.f
	c.labName()
	c.driver("driver", f.Driver)
	if f.MTU == 0 {
		f.MTU = DefaultMTU
	} else if f.MTU < 576 || f.MTU > DefaultMTU {
		c.fail("mtu", "use 576 to 9001; AWS's are 1500 and 9001", "an MTU of %d cannot be had", f.MTU)
	}
	if f.OnRuleChange == "" {
		f.OnRuleChange = Persist
	}
	c.choice("on-rule-change", f.OnRuleChange, Persist, Reevaluate)
	c.timeouts()
	if c.ok("vpcs") && len(f.VPCs) == 0 {
		c.fail("vpcs", "write at least one: NAME: { cidr: 10.0.0.0/16 }", "a lab has no VPC")
	}
}

// choice checks a word of a fixed set.
func (c *checker) choice(path, word string, words ...string) {
	if c.ok(path) && !slices.Contains(words, word) {
		right := "write " + or(words)
		if n := nearest(word, words); n != "" {
			right = "did you mean " + n + "?"
		}
		c.fail(path, right, "%q is not one of its values", short(word))
	}
}

// drivers that a lab file may name.
var drivers = []string{"netns", "netstack", driverQEMU, driverTAP}

func (c *checker) driver(path, name string) {
	if name != "" {
		c.choice(path, name, drivers...)
	}
}

func (c *checker) timeouts() {
	t := c.f.Timeouts
	for _, b := range []struct {
		name            string
		value, min, max time.Duration
	}{
		{"tcp-established", t.TCPEstablished, 60 * time.Second, 432000 * time.Second},
		{"udp-stream", t.UDPStream, 60 * time.Second, 180 * time.Second},
		{"udp", t.UDP, 30 * time.Second, 60 * time.Second},
	} {
		path := "timeouts." + b.name
		if c.given(path) && c.ok(path) && (b.value < b.min || b.value > b.max || b.value%time.Second != 0) {
			c.fail(path, fmt.Sprintf("AWS allows whole seconds from %.0fs to %.0fs", b.min.Seconds(), b.max.Seconds()), "a timeout of %v cannot be set", b.value)
		}
	}
	if m := c.f.MTU; m > 0 && m < 1280 && slices.ContainsFunc(c.f.VPCs, func(v *VPC) bool { return v.CIDR6.IsValid() }) {
		c.fail("mtu", "use at least 1280, or take cidr6 out", "IPv6 needs an MTU of 1280, and this is %d", m)
	}
}

// Names. An instance's name is its host name and a DNS label; the others are words that a rule can be written with.

// maxName is the longest label of DNS (RFC 1035, 2.3.4).
const maxName = 63

func (c *checker) labName() {
	if c.ok("lab") {
		c.label("lab", "lab", c.f.Lab)
	}
}

// label checks a name that is a DNS label beginning with a letter (RFC 1035, 2.3.1), in lower case.
func (c *checker) label(path, what, name string) bool {
	return c.word(path, what, name, "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz0123456789-", "lower-case letters, digits and hyphens")
}

// plainName checks the name of anything else.
func (c *checker) plainName(path, what, name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if strings.HasPrefix(name, "sg-") || strings.HasPrefix(name, "pl-") {
		c.fail(path, "choose another", "the name %s of %s looks like one of AWS's ids", name, article(what))
		return false
	}
	return c.word(path, what, name, letters, letters+"0123456789-_", "letters, digits, hyphens and underscores")
}

// word checks a name of given characters and says what would be right.
func (c *checker) word(path, what, name, first, all, words string) bool {
	right := ""
	switch {
	case name == "":
		right = "give it one"
	case len(name) > maxName:
		right = fmt.Sprintf("it has %d characters, and %d are the most", len(name), maxName)
	case !onlyOf(name, all):
		right = "use " + words
		if fixed := repair(name, first, all); fixed != "" {
			right += ", such as " + fixed
		}
	case !strings.Contains(first, name[:1]):
		right = "begin it with a letter"
	case strings.HasSuffix(name, "-"):
		right = "end it with a letter or digit"
	default:
		return true
	}
	c.fail(path, right, "%q cannot be the name of %s", short(name), article(what))
	return false
}

func onlyOf(s, all string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(all, r) })
}

// repair gives a name that is near and right, or "".
func repair(name, first, all string) string {
	if !strings.ContainsAny(all, "ABC") {
		name = strings.ToLower(name)
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(all, r):
			return r
		case strings.ContainsRune(" _./", r):
			return '-'
		}
		return -1
	}, name)
	name = strings.Trim(name, "-")
	if name == "" || !strings.Contains(first, name[:1]) {
		return ""
	}
	return name
}

func article(noun string) string {
	if strings.ContainsRune("aeiouAEIO", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

// folded finds names that differ at most in upper and lower case: AWS and the model take them as one.
type folded map[string]string

// twice reports a name if an earlier one is the same but for case; equal ones the decoder has reported.
func (c *checker) twice(path, name string, seen folded) {
	low := strings.ToLower(name)
	if other, ok := seen[low]; ok {
		c.fail(path, "AWS compares them without upper and lower case; choose another", "%s and %s are the same name", other, name)
	}
	seen[low] = name
}

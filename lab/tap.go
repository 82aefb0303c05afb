package lab

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/vpclab/vpclab/vpc"
)

// driverTAP attaches programs that hold a TAP.
const driverTAP = "tap"

// tapFields are the fields of an instance that another program is, behind a TAP that it holds; mac is anybody's.
type tapFields struct {
	TAP TAP    `yaml:"tap"`
	MAC string `yaml:"mac"` // "": one is made, or, behind a TAP, that of the first frame
}

// TAP is a device of this host: short in the file (the name of one that is there) or long (one that is made).
type TAP struct {
	Name   string  `yaml:"name,required"`
	Owner  account `yaml:"owner"` // who may open it; "": root
	Group  account `yaml:"group"`
	Netns  string  `yaml:"netns"` // where it is made: a path or a name of ip-netns(8); "": where the agent is
	Theirs bool    // it was written short
}

func (t *TAP) decodeShort(d *decoder, n ast.Node, path string) bool {
	text, ok := textOf(n)
	if !ok || text == "" {
		return false
	}
	d.spans[child(path, "name")] = spanOf(n)
	t.Name, t.Theirs = text, true
	return true
}

func (*TAP) form() string {
	return "the name of a TAP that another program holds, or a mapping with the name of one that is made"
}

// account is a user's or group's name or number.
type account string

func (a *account) decodeShort(_ *decoder, n ast.Node, _ string) bool {
	text, ok := textOf(n)
	if n.Type() == ast.IntegerType {
		text, ok = n.GetToken().Value, true
	}
	*a = account(text)
	return ok && text != ""
}

func (account) form() string { return "a name or a number" }

// maxDevice is the longest name of a network interface on Linux (linux/if.h).
const maxDevice = 15

// tap checks an instance's TAP and MAC.
func (c *checker) tap(in *Instance, path string) {
	c.mac(in, child(path, "mac"))
	p, driver := child(path, "tap"), child(path, "driver")
	if !c.ok(p) || !c.ok(driver) {
		return
	}
	if !c.given(p) {
		if orElse(in.Driver, c.f.Driver) == driverTAP {
			c.fail(path, "add tap: NAME of a TAP that a program holds, or tap: { name: NAME } of one to make for it", "driver tap needs a device")
		}
		return
	}
	if in.Driver != "" && in.Driver != driverTAP {
		c.fail(p, "take out driver: "+in.Driver+", or tap", "a TAP is for driver tap")
		return
	}
	in.Driver = driverTAP
	c.device(child(p, "name"), in.TAP.Name)
	if l := child(path, "listen"); len(in.Listen) > 0 && c.ok(l) {
		c.fail(l, "run them in the instance itself, and take this out", "an instance behind a TAP has servers of its own")
	}
}

// device checks a name as the kernel's dev_valid_name does.
func (c *checker) device(path, name string) {
	if !c.ok(path) {
		return
	}
	wrong := ""
	switch {
	case len(name) > maxDevice:
		wrong = fmt.Sprintf("has %d bytes", len(name))
	case name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || strings.ContainsRune("/:%", r) }):
		wrong = "has a character that none may have"
	default:
		return
	}
	c.fail(path, fmt.Sprintf("use 1 to %d letters, digits, '-', '_' or '.'", maxDevice), "%q cannot be the name of a network interface: it %s", short(name), wrong)
}

// mac checks an instance's MAC and writes it as the model does.
func (c *checker) mac(in *Instance, path string) {
	if in.MAC == "" || !c.ok(path) {
		return
	}
	mac, err := net.ParseMAC(in.MAC)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00" {
		c.fail(path, "write a unicast address such as 52:54:00:00:00:01", "%q cannot be a network interface's MAC", short(in.MAC))
		return
	}
	in.MAC = mac.String()
}

// devices checks that no device and no MAC is that of two instances.
func (c *checker) devices() {
	type place struct{ netns, name string }
	devices := map[place]string{}
	type address struct {
		vpc *VPC
		mac string
	}
	macs := map[address]string{}
	for _, in := range c.f.Instances {
		path := child("instances", in.Name)
		if p := child(path, "tap"); in.TAP.Name != "" && c.ok(p) && c.ok(child(p, "name")) {
			at := place{in.TAP.Netns, in.TAP.Name}
			if other, twice := devices[at]; twice {
				c.fail(p, "give each instance a device of its own", "%s is the device of %s already", in.TAP.Name, other)
			}
			devices[at] = in.Name
		}
		if p := child(path, "mac"); in.MAC != "" && in.Subnet != nil && c.ok(p) {
			at := address{in.Subnet.VPC, in.MAC}
			if other, twice := macs[at]; twice {
				c.fail(p, "give each instance a MAC of its own", "%s is the MAC of %s already", in.MAC, other)
			}
			macs[at] = in.Name
		}
	}
}

// tapOf is what the model keeps of an instance's TAP, nil if it has none.
func (p *planner) tapOf(in *Instance) *vpc.TAP {
	if in.TAP.Name == "" {
		return nil
	}
	return &vpc.TAP{Device: in.TAP.Name, Make: !in.TAP.Theirs, Owner: string(in.TAP.Owner), Group: string(in.TAP.Group), Netns: in.TAP.Netns, Learn: in.MAC == ""}
}

// sendsNothing says whether an instance is another program, which sends nothing of its own for a test.
func (f *File) sendsNothing(name string) bool {
	return slices.Contains([]string{driverQEMU, driverTAP}, orElse(f.instance(name).Driver, f.Driver))
}

// Join completes the input for an instance that joins the lab although its file does not have it: what the file says of
// every instance holds for it, too.
func (f *File) Join(in *vpc.RunInstanceInput) {
	p := &planner{f: f}
	in.Owner = p.owner(in.Name, p.instanceTags())
	for i := range in.Interfaces {
		in.Interfaces[i].Tracking = p.tracking()
	}
}

// joined says whether an instance joined the lab live: its file, which does not have it, lets it be, and has to leave
// its name to it.
func joined(i *vpc.Instance) bool { return i.TAP != nil && i.TAP.Attached }

// nameFree fails if an instance that joined the lab has the name.
func nameFree(tx *vpc.Tx, lab, name string) error {
	for _, o := range tx.Find(lab, vpc.KindInstance, name) {
		if i, ok := o.(*vpc.Instance); ok && joined(i) {
			return &vpc.Error{Code: "InvalidParameterValue", Message: fmt.Sprintf("device %s was attached as %s", i.TAP.Device, name),
				Hint: "choose another name here, or `vpclab detach " + name + "` first"}
		}
	}
	return nil
}

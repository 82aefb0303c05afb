package lab

import (
	"fmt"

	"github.com/vpclab/vpclab/vpc"
)

// commands checks what an instance runs by itself.
func (c *checker) commands(in *Instance, path string) {
	at := child(path, "run")
	if len(in.Run) == 0 || !c.ok(at) || !c.ok(element(at, 0)) || !c.ok(child(path, "driver")) || !c.ok("driver") {
		return
	}
	if d := orElse(in.Driver, c.f.Driver); d != "" && d != driverNetns || in.TAP.Name != "" {
		c.fail(element(at, 0), "write driver: netns, or take it out", "only netns instances run commands of the lab file")
		return
	}
	if len(in.Run) > vpc.MaxCommands {
		c.fail(element(at, vpc.MaxCommands), "put several into one script", "an instance runs at most %d commands", vpc.MaxCommands)
	}
	for i, text := range in.Run {
		if p := element(at, i); c.ok(p) && len(text) > vpc.MaxCommand {
			c.fail(p, "put it into a file, and run that", "%s", fmt.Sprintf("a command has at most %d bytes; this has %d", vpc.MaxCommand, len(text)))
		}
	}
}

// driverNetns runs network namespaces, the only kind whose instances run programs of the host.
const driverNetns = "netns"

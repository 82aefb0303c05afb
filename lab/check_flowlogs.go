package lab

import (
	"errors"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/vpc"
)

// What a flow log's traffic may say.
const (
	TrafficAll    = "all"
	TrafficAccept = "accept"
	TrafficReject = "reject"
)

func (c *checker) flowLogs() {
	if c.f.FlowLogs == nil && c.ok("flow-logs") {
		for _, v := range c.f.VPCs {
			c.f.FlowLogs = append(c.f.FlowLogs, &FlowLog{Resource: v.Name, Pos: v.Pos})
		}
	}
	for i, l := range c.f.FlowLogs {
		path := element("flow-logs", i)
		if l == nil || !c.ok(path) {
			continue
		}
		c.flowLogResource(l, path)
		c.flowLogOptions(l, path)
		same := func(o *FlowLog) bool {
			return o != nil && o.resourceType == l.resourceType && o.resourceNames == l.resourceNames && o.Traffic == l.Traffic && o.Destination == l.Destination
		}
		if l.resourceType != "" && slices.ContainsFunc(c.f.FlowLogs[:i], same) {
			c.fail(path, "give it another destination, or take it out", "there is a flow log of %s with the same traffic and destination", l.Resource)
		}
	}
}

// flowLogResource finds what a flow log is about: a VPC, a subnet or an instance.
func (c *checker) flowLogResource(l *FlowLog, path string) {
	p := child(path, "resource")
	if !c.ok(p) {
		return
	}
	var found, names []string
	for _, v := range c.f.VPCs {
		names = append(names, v.Name)
		if v.Name == l.Resource {
			found = append(found, "VPC "+v.Name)
			l.resourceType, l.resourceNames = "VPC", [2]string{v.Name}
		}
	}
	for _, s := range c.f.findSubnets(l.Resource) {
		found = append(found, "subnet "+s.VPC.Name+"/"+s.Name)
		l.resourceType, l.resourceNames = "Subnet", [2]string{s.VPC.Name, s.Name}
	}
	for _, in := range c.f.Instances {
		names = append(names, in.Name)
		if in.Name == l.Resource {
			found = append(found, "instance "+in.Name)
			l.resourceType, l.resourceNames = "NetworkInterface", [2]string{in.Name}
		}
	}
	switch names = append(names, c.f.subnetNames()...); {
	case len(found) == 0:
		c.fail(p, oneOf("resources", l.Resource, names), "there is no VPC, subnet or instance %s", short(l.Resource))
	case len(found) > 1:
		c.fail(p, "write VPC/SUBNET for a subnet, or give them different names", "%s can mean %s", l.Resource, or(found))
	}
}

func (c *checker) flowLogOptions(l *FlowLog, path string) {
	if l.Traffic == "" {
		l.Traffic = TrafficAll
	}
	c.choice(child(path, "traffic"), l.Traffic, TrafficAll, TrafficAccept, TrafficReject)
	if l.Destination == "" {
		l.Destination = DefaultBucket
	}
	c.destination(l, child(path, "destination"))
	if l.Interval == 0 {
		l.Interval = 600
	}
	if p := child(path, "interval"); c.ok(p) && l.Interval != 60 && l.Interval != 600 {
		c.fail(p, "AWS allows 60 and 600 seconds", "an interval of %d seconds cannot be had", l.Interval)
	}
	if l.Format == "" || l.Format == "default" {
		l.Format = flowlogs.DefaultLogFormat
	}
	l.Format = formatText(strings.Join(strings.Fields(string(l.Format)), " "))
	if p := child(path, "format"); c.ok(p) {
		if _, err := flowlogs.ParseFormat(string(l.Format)); err != nil {
			wrong, right := err.Error(), ""
			if e, ok := errors.AsType[*vpc.Error](err); ok && e.Hint != "" {
				wrong, right = "this is not a flow-log format", e.Hint
			}
			c.fail(p, right, "%s", wrong)
		}
	}
}

// destination checks BUCKET[/PREFIX] by S3's rules for names of buckets.
func (c *checker) destination(l *FlowLog, path string) {
	if !c.ok(path) {
		return
	}
	bucket, prefix, _ := strings.Cut(l.Destination, "/")
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	switch {
	case len(bucket) < 3 || len(bucket) > 63 || !onlyOf(bucket, letters+"-") || strings.HasPrefix(bucket, "-") || strings.HasSuffix(bucket, "-"):
		c.fail(path, "use 3 to 63 lower-case letters, digits and hyphens, as S3 does", "%q cannot be the name of a bucket", short(bucket))
	case prefix != "" && (!onlyOf(strings.ToLower(prefix), letters+"-_./") || slices.ContainsFunc(strings.Split(prefix, "/"), badFolder)):
		c.fail(path, "use folders of letters, digits, hyphens, dots and underscores; AWS keeps AWSLogs for itself", "%q cannot be a prefix", short(prefix))
	}
}

func badFolder(name string) bool {
	return name == "" || strings.Trim(name, ".") == "" || name == "AWSLogs"
}

package flowlogs

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// allFields is AWS's table of fields in its order, version by version.
const (
	version2  = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
	version3  = version2 + " vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr"
	version4  = version3 + " region az-id sublocation-type sublocation-id"
	version5  = version4 + " pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path"
	version7  = version5 + " ecs-cluster-arn ecs-cluster-name ecs-container-instance-arn ecs-container-instance-id ecs-container-id ecs-second-container-id ecs-service-name ecs-task-definition-arn ecs-task-arn ecs-task-id"
	version10 = version7 + " reject-reason resource-id encryption-status"
	allFields = version10 + " instance-tag instance-tag-2 interface-tag interface-tag-2 asg-tag asg-tag-2 interface-type next-hop-interface-id next-hop-subnet-id next-hop-az-id next-hop-vpc-id next-hop-interface-type"
)

func TestVersionIsTheHighestAmongTheFields(t *testing.T) {
	for names, want := range map[string]int{
		version2: 2, version3: 3, version4: 4, version5: 5, version7: 7, version10: 10, allFields: 11,
		"version": 2, "srcaddr dstaddr": 2, "tcp-flags": 3, "version az-id": 4, "traffic-path version": 5, "reject-reason": 8, "resource-id": 9,
	} {
		f := mustFormat(names)
		if f.Version() != want {
			t.Errorf("%s: version %d, want %d", names, f.Version(), want)
		}
		if f.Header() != names || strings.Join(f.Fields(), " ") != names {
			t.Errorf("header %q, fields %q, want %q", f.Header(), f.Fields(), names)
		}
	}
	if got := DefaultFormat(); got.String() != DefaultLogFormat || got.Header() != version2 {
		t.Errorf("default: %s, %s", got, got.Header())
	}
}

func TestParseFormatErrors(t *testing.T) {
	const end = "' at 'logFormat' has an invalid format"
	for _, test := range []struct{ in, hint string }{
		{"", "give at least one field, such as ${version}; without LogFormat the default format is used"},
		{"${version} ${log-status} ", "put one space between fields, and none before the first or after the last"},
		{" ${version}", "put one space between fields, and none before the first or after the last"},
		{"${version}  ${srcaddr}", "put one space between fields, and none before the first or after the last"},
		{"${version},${srcaddr}", `unknown field ${version},${srcaddr}`},
		{"version srcaddr", "write ${version} instead of version"},
		{"$${version}", "write ${version} instead of $${version}"},
		{"'${version}", `write`},
		{"${version", "write ${version} instead of ${version"},
		{"hello", `"hello" is not of the form ${field}`},
		{"${version}\t${srcaddr}", "unknown field"},
		{"${src-addr}", "unknown field ${src-addr}; use ${srcaddr}"},
		{"${vpc_id}", "unknown field ${vpc_id}; use ${vpc-id}"},
		{"${Version}", "unknown field ${Version}; use ${version}"},
		{"${}", "unknown field ${}"},
		{"${tgw-id}", "unknown field ${tgw-id}"},
	} {
		f, err := ParseFormat(test.in)
		e, ok := errors.AsType[*vpc.Error](err)
		if f != nil || !ok {
			t.Errorf("%q: %v, %v", test.in, f, err)
			continue
		}
		if e.Code != "InvalidParameter" || e.Field != "LogFormat" || e.Message != "1 validation error detected: Value '"+test.in+end {
			t.Errorf("%q: %+v", test.in, e)
		}
		if !strings.HasPrefix(e.Hint, test.hint) && !strings.Contains(e.Hint, "not of the form") {
			t.Errorf("%q: hint %q, want %q", test.in, e.Hint, test.hint)
		}
	}
}

func TestTagFieldsNeedMore(t *testing.T) {
	for names, want := range map[string]bool{version10: false, allFields: true, "asg-tag-2": true, "version": false} {
		if got := mustFormat(names).NeedsTagFields(); got != want {
			t.Errorf("%s: %v", names, got)
		}
	}
}

func TestFieldsThatDoNotApply(t *testing.T) {
	r := Record{Interface: &Interface{}, Flow: *web(0, 0), Start: 1, End: 2}
	same(t, "bare interface", string(mustFormat(allFields).Append(nil, &r)),
		"11 - - 10.0.1.66 10.0.1.10 40000 80 6 4 216 1 2 ACCEPT OK - - - 2 IPv4 10.0.1.66 10.0.1.10 - - - - - - ingress -"+strings.Repeat(" -", 25))
	same(t, "IPv6", string(mustFormat("type traffic-path").Append(nil, longest())), "IPv6 -")
	r.Direction, r.TrafficPath = vpc.Egress, 1
	same(t, "path", string(mustFormat("flow-direction traffic-path").Append(nil, &r)), "egress 1")
	r.Direction = vpc.Ingress
	same(t, "ingress has none", string(mustFormat("flow-direction traffic-path").Append(nil, &r)), "ingress -")
}

func TestRecordsOfNoFlowKeepSixFields(t *testing.T) {
	i := testInterface(web1, "10.0.1.10")
	for status, word := range map[Status]string{NoData: "NODATA", SkipData: "SKIPDATA"} {
		r := Record{Interface: i, Status: status, Start: 1, End: 2, Flow: Flow{Packets: 3, Bytes: 4}}
		same(t, word, string(mustFormat(version5).Append(nil, &r)),
			"5 123456789012 "+web1+" - - - - - - - 1 2 - "+word+strings.Repeat(" -", 15))
	}
}

func TestShownAddresses(t *testing.T) {
	i := testInterface(web1, "10.0.1.10")
	i.Primary6 = netip.MustParseAddr("fd00::10")
	i.Addresses = []netip.Addr{i.Primary4, netip.MustParseAddr("10.0.1.11"), i.Primary6, netip.MustParseAddr("fd00::11")}
	bare := &Interface{}
	for _, test := range []struct {
		name     string
		at       *Interface
		dir      vpc.Direction
		src, dst string
		want     string
	}{
		{"to the primary", i, vpc.Ingress, "10.0.9.9", "10.0.1.10", "10.0.9.9 10.0.1.10"},
		{"to a secondary", i, vpc.Ingress, "10.0.9.9", "10.0.1.11", "10.0.9.9 10.0.1.10"},
		{"to an address not its own", i, vpc.Ingress, "10.0.9.9", "192.0.2.1", "10.0.9.9 10.0.1.10"},
		{"from an address not its own, arriving", i, vpc.Ingress, "192.0.2.1", "10.0.1.10", "192.0.2.1 10.0.1.10"},
		{"from a secondary", i, vpc.Egress, "10.0.1.11", "10.0.9.9", "10.0.1.10 10.0.9.9"},
		{"from an address not its own", i, vpc.Egress, "192.0.2.1", "10.0.9.9", "10.0.1.10 10.0.9.9"},
		{"IPv6 to the primary", i, vpc.Ingress, "fd00::99", "fd00::10", "fd00::99 fd00::10"},
		{"IPv6 to another own", i, vpc.Ingress, "fd00::99", "fd00::11", "fd00::99 fd00::11"},
		{"IPv6 from one not its own", i, vpc.Egress, "2001:db8::1", "fd00::99", "fd00::10 fd00::99"},
		{"no primary of the family", bare, vpc.Egress, "10.0.1.11", "10.0.9.9", "10.0.1.11 10.0.9.9"},
	} {
		r := Record{Interface: test.at, Flow: Flow{Direction: test.dir, Tuple: packet.Tuple{
			Src: packet.AddrFrom(netip.MustParseAddr(test.src)), Dst: packet.AddrFrom(netip.MustParseAddr(test.dst))}}}
		line := string(mustFormat("srcaddr dstaddr pkt-srcaddr pkt-dstaddr").Append(nil, &r))
		same(t, test.name, line, test.want+" "+test.src+" "+test.dst)
	}
}

// longest is a record whose every field is as long as it can be.
func longest() *Record {
	far := packet.AddrFrom(netip.MustParseAddr("2001:1db8:1234:a100:8d6e:3477:df66:f105"))
	return &Record{
		Interface: &Interface{
			ID: web1, AccountID: "123456789012", VPCID: "vpc-abcdefab012345678", SubnetID: "subnet-aaaaaaaa012345678",
			InstanceID: "i-01234567890123456", Region: "ap-southeast-123", ZoneID: "apse2-syd1-az123",
		},
		Flow: Flow{
			Tuple:     packet.Tuple{Src: far, Dst: far, SrcPort: 65535, DstPort: 65535, Proto: 255},
			Direction: vpc.Ingress, Action: Accept, TrafficPath: 255, TCPFlags: 255, Packets: math.MaxUint64, Bytes: math.MaxUint64,
		},
		Start: math.MinInt64, End: math.MinInt64,
	}
}

func TestMaxLine(t *testing.T) {
	all := mustFormat(allFields)
	if all.MaxLine() != MaxLine {
		t.Errorf("MaxLine is %d, the format of all fields says %d", MaxLine, all.MaxLine())
	}
	r := longest()
	for _, f := range []*Format{all, DefaultFormat(), mustFormat(version5), mustFormat("version"), short} {
		if n := len(f.Append(nil, r)); n > f.MaxLine() {
			t.Errorf("%d bytes, bound %d: %s", n, f.MaxLine(), f)
		}
	}
	// tight for what a record can reach: version 11, tcp-flags of TCP and the path of egress are the rest
	if n := len(mustFormat("account-id interface-id srcaddr dstport packets start az-id region").Append(nil, r)); n !=
		mustFormat("account-id interface-id srcaddr dstport packets start az-id region").MaxLine() {
		t.Errorf("not tight: %d", n)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, MaxLine)
	four := &Record{Interface: testInterface(web1, "10.0.1.10"), Flow: *web(0, 0)}
	for name, r := range map[string]*Record{"IPv4": four, "IPv6": longest(), "NODATA": {Interface: four.Interface, Status: NoData}} {
		for _, f := range []*Format{DefaultFormat(), mustFormat(allFields)} {
			if n := testing.AllocsPerRun(100, func() { buf = f.Append(buf[:0], r) }); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
}

func TestAddDoesNotAllocateOnAHit(t *testing.T) {
	a := newTest(Config{})
	f := web(1, 1)
	a.Add(1, f)
	if n := testing.AllocsPerRun(100, func() { a.Add(1, f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	unknown := testing.AllocsPerRun(100, func() { a.Add(9, f) })
	if unknown != 0 {
		t.Errorf("unknown interface: %v allocations", unknown)
	}
}

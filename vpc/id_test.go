package vpc

import (
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

func TestWellFormed(t *testing.T) {
	for _, tt := range []struct {
		id   string
		kind Kind
	}{
		{"vpc-0123456789abcdef0", KindVPC}, {"subnet-1a2b3c4d", KindSubnet}, {"rtb-00000000000000000", KindRouteTable},
		{"eni-fffffffffffffffff", KindNetworkInterface}, {"sg-0123456789abcdef0", KindSecurityGroup}, {"pl-0123456789abcdef0", KindPrefixList},
		{"i-0123456789abcdef0", KindInstance}, {"fl-0123456789abcdef0", KindFlowLog},
		{"sgr-0123456789abcdef0", ""}, {"vpc-", ""}, {"vpc", ""}, {"", ""}, {"vpc-0123456789ABCDEF0", ""}, {"vpc-0123456789abcdeg0", ""},
		{"vpc-0123456789abcdef", ""}, {"vpc-0123456789abcdef01", ""}, {" vpc-1a2b3c4d", ""}, {"vpc-1a2b3c4d\n", ""}, {"VPC-1a2b3c4d", ""}, {"eipalloc-1a2b3c4d", ""},
	} {
		kind, ok := KindOf(tt.id)
		if kind != tt.kind || ok != (tt.kind != "") {
			t.Errorf("%q is a %q, %v; want %q", tt.id, kind, ok, tt.kind)
		}
	}
}

func TestEveryKindHasIDs(t *testing.T) {
	if len(Kinds) != len(idKinds) {
		t.Fatalf("%d kinds, %d kinds of ids", len(Kinds), len(idKinds))
	}
	for _, k := range Kinds {
		ids := idsOf(k)
		if !strings.HasSuffix(ids.malformed, ".Malformed") || !strings.HasSuffix(ids.notFound, ".NotFound") || strings.Count(ids.missing, "%s") != 1 {
			t.Errorf("%s: %+v", k, ids)
		}
	}
}

func TestSourceIsRepeatable(t *testing.T) {
	never := func(string) bool { return false }
	a, b, c := newSource(5), newSource(5), newSource(6)
	if x, y := a.id("i-", never), b.id("i-", never); x != y || x == c.id("i-", never) {
		t.Errorf("seed 5 gives %s and %s", x, y)
	}
	if x, y := newSource(0).id("i-", never), newSource(0).id("i-", never); x == y {
		t.Error("two random sources give one id")
	}
}

func TestSourceShapes(t *testing.T) {
	s := newSource(1)
	form := regexp.MustCompile(`^vpc-0[0-9a-f]{16}$`)
	for range 1000 {
		if id := s.id("vpc-", func(string) bool { return false }); !form.MatchString(id) || !wellFormed(id, "vpc-") {
			t.Fatalf("id %q", id)
		}
		mac, err := net.ParseMAC(s.mac(func(string) bool { return false }))
		if err != nil || len(mac) != 6 || mac[0] != 2 {
			t.Fatalf("MAC %v, %v", mac, err)
		}
		p := s.block6(func(netip.Prefix) bool { return false })
		if p.Bits() != 56 || p != p.Masked() || p.Addr().As16()[0] != 0xfd || p.Overlaps(services6) {
			t.Fatalf("block %s", p)
		}
	}
}

// TestSourceAsksAgain: what is taken is not given out.
func TestSourceAsksAgain(t *testing.T) {
	seen := map[string]bool{}
	refused := 0
	takeFirst := func(s string) bool {
		if !seen[s] && len(seen) < 3 {
			seen[s] = true
			refused++
			return true
		}
		return seen[s]
	}
	s := newSource(1)
	if id := s.id("i-", takeFirst); seen[id] || refused != 3 {
		t.Errorf("gave %s after %d refusals", id, refused)
	}
	clear(seen)
	if mac := s.mac(takeFirst); seen[mac] || refused != 6 {
		t.Errorf("gave %s after %d refusals", mac, refused)
	}
	if p := s.block6(func(p netip.Prefix) bool { return takeFirst(p.String()+"x") && len(seen) < 6 }); !p.IsValid() {
		t.Error("no block")
	}
}

func TestQuotaDefaults(t *testing.T) {
	q := Quotas{VPCs: 9}.withDefaults()
	if q.VPCs != 9 || q.RulesPerGroup != 60 || q.GroupsPerInterface != 5 || q.NetworkInterfaces != 5000 || q.SubnetsPerVPC != 200 {
		t.Errorf("quotas %+v", q)
	}
	c := Config{}.withDefaults()
	if c.Account != "123456789012" || c.Region != "us-east-1" || c.Now == nil {
		t.Errorf("config %+v", c)
	}
}

// FuzzKindOf holds KindOf against a regular expression.
func FuzzKindOf(f *testing.F) {
	for _, s := range []string{"vpc-0123456789abcdef0", "subnet-1a2b3c4d", "sg-", "sgr-0123456789abcdef0", "i-xyz", "eni-0123456789abcdef0 "} {
		f.Add(s)
	}
	form := regexp.MustCompile(`\A(vpc|subnet|rtb|eni|sg|pl|i|fl)-([0-9a-f]{8}|[0-9a-f]{17})\z`)
	f.Fuzz(func(t *testing.T, s string) {
		kind, ok := KindOf(s)
		if ok != form.MatchString(s) || ok != (kind != "") {
			t.Fatalf("%q: %q, %v", s, kind, ok)
		}
		if ok && idsOf(kind).check(s, "") != nil {
			t.Fatalf("%q: refused as %s", s, kind)
		}
	})
}

// FuzzDestination: a log destination that is taken stays below the data directory, and reads back as itself.
func FuzzDestination(f *testing.F) {
	for _, s := range []string{"arn:aws:s3:::b-1/x/y", "bucket", "../x", "bucket/..", "bucket/./x", "b/AWSLogs", "bucket//", "arn:aws:s3:::", "bücket"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := destination(s)
		if err != nil {
			return
		}
		path, ok := strings.CutPrefix(d, bucketARN)
		if !ok || strings.ContainsAny(path, "\\\x00 :") {
			t.Fatalf("%q: %q", s, d)
		}
		for part := range strings.SplitSeq(path, "/") {
			if part == "" || part == "." || part == ".." || part == "AWSLogs" {
				t.Fatalf("%q: %q", s, d)
			}
		}
		if again, err := destination(d); err != nil || again != d {
			t.Fatalf("%q: %q reads back as %q, %v", s, d, again, err)
		}
	})
}

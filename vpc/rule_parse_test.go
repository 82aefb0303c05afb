package vpc

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

var ruleTestGroups = map[string]string{
	"web": "sg-web", "app": "sg-app", "my group": "sg-mine", "10.0.0.0/8": "sg-odd", "anywhere": "sg-trap", "a,b": "sg-comma",
	"team:ops": "sg-ops", "prefix-list": "sg-list", "pl-x": "sg-plx", "to": "sg-to", "from": "sg-from",
}

var ruleTestLists = map[string]string{"partners": "pl-partners", "two words": "pl-two"}

func ruleTestNames() Names {
	find := func(m map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { id, ok := m[name]; return id, ok }
	}
	return Names{Group: find(ruleTestGroups), PrefixList: find(ruleTestLists)}
}

func ruleTestName(id string) string {
	for _, m := range []map[string]string{ruleTestGroups, ruleTestLists} {
		for name, i := range m {
			if i == id {
				return name
			}
		}
	}
	return ""
}

// Each rule stands beside what it means; words is what is printed again, "" if that is the rule itself.
func TestParseRule(t *testing.T) {
	tests := []struct {
		rule  string
		want  Permission
		words string
	}{
		{"tcp 8080 from web", perm(6, 8080, 8080, "sg-web"), ""},
		{"tcp 8000-8100 from 10.0.0.0/8", perm(6, 8000, 8100, "10.0.0.0/8"), ""},
		{"tcp 8000 - 8100 from 10.1.2.3/8", perm(6, 8000, 8100, "10.0.0.0/8"), "tcp 8000-8100 from 10.0.0.0/8"},
		{"tcp 0-65535 from web", perm(6, 0, 65535, "sg-web"), "all tcp from web"},
		{"all tcp from web", perm(6, 0, 65535, "sg-web"), ""},
		{"all-udp from web", perm(17, 0, 65535, "sg-web"), "all udp from web"},
		{"udp 53 from web", perm(17, 53, 53, "sg-web"), "dns (udp) from web"},
		{"tcp 0 from web", perm(6, 0, 0, "sg-web"), ""},
		{"Custom TCP 81 from web", perm(6, 81, 81, "sg-web"), "tcp 81 from web"},
		{"custom tcp rule 81 from web", perm(6, 81, 81, "sg-web"), "tcp 81 from web"},
		{"6 81 from web", perm(6, 81, 81, "sg-web"), "tcp 81 from web"},

		{"http from anywhere", perm(6, 80, 80, "0.0.0.0/0"), ""},
		{"HTTP FROM Anywhere-IPv4", perm(6, 80, 80, "0.0.0.0/0"), "http from anywhere"},
		{"https from anywhere-v6", perm(6, 443, 443, "::/0"), ""},
		{"https from Anywhere-IPv6", perm(6, 443, 443, "::/0"), "https from anywhere-v6"},
		{"postgres from app", perm(6, 5432, 5432, "sg-app"), ""},
		{"PostgreSQL from app", perm(6, 5432, 5432, "sg-app"), "postgres from app"},
		{"MYSQL/Aurora from app", perm(6, 3306, 3306, "sg-app"), "mysql from app"},
		{"DNS (UDP) from app", perm(17, 53, 53, "sg-app"), "dns (udp) from app"},
		{"dns(tcp) from app", perm(6, 53, 53, "sg-app"), "dns (tcp) from app"},
		{"dns from app", perm(17, 53, 53, "sg-app"), "dns (udp) from app"},
		{"WinRM-HTTPS from app", perm(6, 5986, 5986, "sg-app"), "winrm-https from app"},
		{"Elastic Graphics from app", perm(6, 2007, 2007, "sg-app"), "elastic-graphics from app"},
		{"Oracle-RDS from app", perm(6, 1521, 1521, "sg-app"), "oracle-rds from app"},

		{"all from web", perm(-1, -1, -1, "sg-web"), ""},
		{"All traffic from 10.0.0.5", perm(-1, -1, -1, "10.0.0.5/32"), "all from 10.0.0.5/32"},
		{"-1 from web", perm(-1, -1, -1, "sg-web"), "all from web"},
		{"47 from 10.0.0.0/8", perm(47, -1, -1, "10.0.0.0/8"), "gre from 10.0.0.0/8"},
		{"gre from web", perm(47, -1, -1, "sg-web"), ""},
		{"custom protocol 200 from web", perm(200, -1, -1, "sg-web"), "200 from web"},
		{"custom protocol esp from web", perm(50, -1, -1, "sg-web"), "esp from web"},
		{"0 from web", perm(0, -1, -1, "sg-web"), ""},

		{"ping from anywhere", perm(1, 8, -1, "0.0.0.0/0"), ""},
		{"ping from anywhere-v6", perm(58, 128, 0, "::/0"), ""},
		{"ping from web", perm(1, 8, -1, "sg-web"), ""},
		{"ping6 from web", perm(58, 128, 0, "sg-web"), ""},
		{"ping6 from 2001:db8::/32", perm(58, 128, 0, "2001:db8::/32"), "ping from 2001:db8::/32"},
		{"icmp echo request from web", perm(1, 8, -1, "sg-web"), "ping from web"},
		{"icmp from 10.0.0.0/8", perm(1, -1, -1, "10.0.0.0/8"), ""},
		{"icmp from ::/0", perm(58, -1, -1, "::/0"), "icmpv6 from anywhere-v6"},
		{"All ICMP - IPv4 from web", perm(1, -1, -1, "sg-web"), "icmp from web"},
		{"all-icmp-ipv6 from web", perm(58, -1, -1, "sg-web"), "icmpv6 from web"},
		{"all icmp from anywhere", perm(1, -1, -1, "0.0.0.0/0"), "icmp from anywhere"},
		{"icmp 3/4 from 10.0.0.0/8", perm(1, 3, 4, "10.0.0.0/8"), "icmp fragmentation-needed from 10.0.0.0/8"},
		{"icmp 3/9 from web", perm(1, 3, 9, "sg-web"), ""},
		{"icmp 8/0 from web", perm(1, 8, 0, "sg-web"), ""},
		{"icmp 6 from web", perm(1, 6, -1, "sg-web"), ""},
		{"Custom ICMP - IPv6 2 from web", perm(58, 2, -1, "sg-web"), "icmpv6 packet-too-big from web"},
		{"icmpv6 echo-request from ::/0", perm(58, 128, -1, "::/0"), "icmpv6 echo-request from anywhere-v6"},
		{"1 from ::/0", perm(1, -1, -1, "::/0"), "1 from anywhere-v6"},
		{"1 8 from ::/0", perm(1, 8, -1, "::/0"), "1 echo-request from anywhere-v6"},
		{"58 128/0 from 10.0.0.0/8", perm(58, 128, 0, "10.0.0.0/8"), ""},

		{"ssh from sg-0123456789abcdef0", perm(6, 22, 22, "sg-0123456789abcdef0"), ""},
		{"ssh from pl-0123456789abcdef0", perm(6, 22, 22, "pl-0123456789abcdef0"), ""},
		{"ssh from prefix-list partners", perm(6, 22, 22, "pl-partners"), ""},
		{`ssh from Prefix-List "two words"`, perm(6, 22, 22, "pl-two"), `ssh from prefix-list "two words"`},
		{"ssh from prefix-list pl-1", perm(6, 22, 22, "pl-1"), "ssh from pl-1"},
		{`ssh from "my group"`, perm(6, 22, 22, "sg-mine"), ""},
		{`ssh from 'my group'`, perm(6, 22, 22, "sg-mine"), `ssh from "my group"`},
		{`ssh from "10.0.0.0/8"`, perm(6, 22, 22, "sg-odd"), ""},
		{`ssh from "anywhere"`, perm(6, 22, 22, "sg-trap"), ""},
		{`ssh from "a,b"`, perm(6, 22, 22, "sg-comma"), ""},
		{`ssh from "prefix-list"`, perm(6, 22, 22, "sg-list"), ""},
		{`ssh from "pl-x"`, perm(6, 22, 22, "sg-plx"), ""},
		{`ssh from team:ops`, perm(6, 22, 22, "sg-ops"), ""},
		{`ssh from to`, perm(6, 22, 22, "sg-to"), ""},
		{`ssh from from`, perm(6, 22, 22, "sg-from"), ""},
		{"\tssh  from\nweb ", perm(6, 22, 22, "sg-web"), "ssh from web"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			got, err := ruleTestNames().ParseRule(tt.rule, Ingress)
			if err != nil || !slices.Equal(got, []Permission{tt.want}) {
				t.Fatalf("ParseRule = %+v, %v\nwant %+v", got, err, tt.want)
			}
			words := tt.words
			if words == "" {
				words = tt.rule
			}
			if got := tt.want.Words(Ingress, ruleTestName); got != words {
				t.Errorf("Words = %q, want %q", got, words)
			}
		})
	}
}

func TestParseRuleSeveralPeers(t *testing.T) {
	got, err := ParseRule("ping to anywhere, anywhere-v6 , web,sg-9", Egress, ruleTestNames().Group)
	want := []Permission{
		perm(1, 8, -1, "0.0.0.0/0"), perm(58, 128, 0, "::/0"), perm(1, 8, -1, "sg-web"), perm(1, 8, -1, "sg-9"),
	}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("ParseRule = %+v, %v\nwant %+v", got, err, want)
	}
	if w := got[0].Words(Egress, nil); w != "ping to anywhere" {
		t.Errorf("Words = %q", w)
	}
	if w := got[2].Words(Egress, nil); w != "ping to sg-web" {
		t.Errorf("Words without names = %q", w)
	}
}

// A name that cannot stand in a rule gives way to the id.
func TestWordsNameWithQuotes(t *testing.T) {
	got := perm(6, 22, 22, "sg-1").Words(Ingress, func(string) string { return `o"brien` })
	if got != "ssh from sg-1" {
		t.Errorf("Words = %q", got)
	}
}

func TestParseRuleErrors(t *testing.T) {
	tests := []struct {
		rule   string
		column int
		parts  []string
	}{
		{"", 1, []string{"empty", "tcp 8080 from web"}},
		{"   ", 1, []string{"empty"}},
		{"tcp 8080", 9, []string{`"from" and the peers are missing`}},
		{"é", 2, []string{`"from" and the peers are missing`}},
		{"from web", 1, []string{"type is missing"}},
		{"tcp 8080 to web", 10, []string{`"to" is for the other direction`, `an ingress rule says "from"`}},
		{"tcp 70000 from web", 5, []string{"port 70000 is out of range", "0 to 65535"}},
		{"tcp 80-70000 from web", 5, []string{"port 70000 is out of range"}},
		{"tcp 99999999999 from web", 5, []string{"is not a port"}},
		{"tcp 90-80 from web", 5, []string{"runs backwards", "write 80-90"}},
		{"tcp eighty from web", 5, []string{`"eighty" is not a port`, "8000-8100"}},
		{"tcp 80- from web", 5, []string{`"" is not a port`}},
		{"tcp -80 from web", 5, []string{`"" is not a port`}},
		{"tcp 80,443 from web", 7, []string{"comma before the peers", "a rule for each"}},
		{"tcp from web", 4, []string{"tcp needs a port", "all tcp"}},
		{"udp from web", 4, []string{"udp needs a port", "all udp"}},
		{"6 from web", 2, []string{"6 needs a port", "tcp 8080"}},
		{"all tcp 80 from web", 9, []string{"all tcp takes no ports", "tcp 8080"}},
		{"http 80 from web", 6, []string{"http takes no ports"}},
		{"gre 1 from web", 5, []string{"gre takes no ports"}},
		{"47 1 from web", 4, []string{"protocol 47 has no ports"}},
		{"256 from web", 1, []string{"protocol 256 is out of range", "tcp 256"}},
		{"custom protocol from web", 1, []string{"needs a protocol"}},
		{"custom protocol tcp from web", 17, []string{`"tcp" is not a type`}},
		{"postgers from web", 1, []string{`"postgers" is not a type`, "did you mean postgres?"}},
		{"htps from web", 1, []string{"did you mean http"}},
		{"tpc 80 from web", 1, []string{"did you mean tcp?"}},
		{"xyzzyplugh from web", 1, []string{"a type is tcp, udp"}},
		{`"tcp" 80 from web`, 1, []string{"in quotes"}},
		{"icmp 3/4 from ::/0", 15, []string{"icmp never matches an IPv6 peer", "icmpv6"}},
		{"icmpv6 from 10.0.0.0/8", 13, []string{"icmpv6 never matches an IPv4 peer", "write icmp"}},
		{"ping6 from anywhere", 12, []string{"icmpv6 never matches an IPv4 peer", "write ping"}},
		{"icmp 256 from web", 6, []string{"256 is out of range"}},
		{"icmp 3/256 from web", 6, []string{"3/256 is out of range"}},
		{"icmp 3/x from web", 6, []string{`"3/x" is not an icmp type`}},
		{"icmp packet-too-big from web", 6, []string{"is not an icmp type"}},
		{"ping 6 from web", 6, []string{"ping takes no ports"}},
		{"pop 3 from web", 1, []string{`"pop" is not a type`}},
		{"ping 3 from web", 6, []string{"ping takes no ports"}},
		{"tcp 80 from", 12, []string{"a peer is missing", "anywhere"}},
		{"tcp 80 from web,", 17, []string{"a peer is missing"}},
		{"tcp 80 from , web", 18, []string{"a peer is missing"}},
		{"tcp 80 from wbe", 13, []string{`no security group "wbe"`, "a peer is anywhere"}},
		{"tcp 80 from Web", 13, []string{`no security group "Web"`}},
		{`tcp 80 from "web`, 13, []string{"never closed"}},
		{`tcp 80 from "wbe"`, 13, []string{`no security group "wbe"`}},
		{"tcp 80 from any", 13, []string{"write anywhere"}},
		{"tcp 80 from 10.0.0.0/33", 13, []string{`"10.0.0.0/33" is not a CIDR`, "10.0.0.0/8"}},
		{"tcp 80 from 10.0.0/8", 13, []string{"is not a CIDR"}},
		{"tcp 80 from ::ffff:10.0.0.1", 13, []string{"is not a CIDR"}},
		{"tcp 80 from fe80::1%eth0", 13, []string{"is not a CIDR"}},
		{"tcp 80 from web app", 17, []string{`"app" stands directly after "web"`, "comma"}},
		{"tcp 80 from web, web", 18, []string{"stands here twice"}},
		{"tcp 80 from 10.0.0.0/8, 10.9.9.9/8", 25, []string{"stands here twice"}},
		{"ssh from prefix-list", 10, []string{"prefix-list needs one name"}},
		{"ssh from prefix-list nope", 22, []string{`no prefix list "nope"`}},
		{"ssh from é, web, nope", 10, []string{`no security group "é"`}},
		{`ssh from "my group", ü`, 22, []string{`no security group "ü"`}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			got, err := ruleTestNames().ParseRule(tt.rule, Ingress)
			e, ok := errors.AsType[*RuleError](err)
			if !ok {
				t.Fatalf("ParseRule = %+v, %v; want a *RuleError", got, err)
			}
			if e.Column != tt.column || e.Text != tt.rule {
				t.Errorf("column %d of %q, want %d: %v", e.Column, e.Text, tt.column, e)
			}
			for _, part := range tt.parts {
				if !strings.Contains(e.Error(), part) {
					t.Errorf("error %q lacks %q", e, part)
				}
			}
		})
	}
}

// Without a resolver no name is known, and nothing panics.
func TestParseRuleNoNames(t *testing.T) {
	for _, rule := range []string{"ssh from web", `ssh from "web"`, "ssh from prefix-list partners"} {
		if got, err := ParseRule(rule, Ingress, nil); err == nil {
			t.Errorf("ParseRule(%q) = %+v", rule, got)
		}
	}
}

// Every type of the EC2 console's rule editor can be written as the console shows it.
func TestParseRuleConsoleTypes(t *testing.T) {
	for _, name := range []string{
		"Custom TCP 1", "Custom UDP 1", "Custom ICMP - IPv4", "Custom ICMP - IPv6", "Custom Protocol 3", "All TCP", "All UDP",
		"All ICMP - IPv4", "All ICMP - IPv6", "All traffic", "SSH", "SMTP", "DNS (UDP)", "DNS (TCP)", "HTTP", "POP3", "IMAP",
		"LDAP", "HTTPS", "SMB", "SMTPS", "IMAPS", "POP3S", "MSSQL", "NFS", "MYSQL/Aurora", "RDP", "Redshift", "PostgreSQL",
		"Oracle-RDS", "WinRM-HTTP", "WinRM-HTTPS", "Elastic Graphics",
	} {
		for _, n := range []string{name, strings.ToLower(name)} {
			if _, err := ParseRule(n+" from sg-1", Ingress, nil); err != nil {
				t.Errorf("%s: %v", n, err)
			}
		}
	}
}

// ParseRule takes any text, and what it reads, Words writes so that it is read again.
func FuzzParseRule(f *testing.F) {
	for _, s := range []string{
		"tcp 8080 from web", "udp 5-6 to 10.0.0.0/8,::/0", "all icmp - ipv6 from web", "ping from anywhere, anywhere-v6",
		`icmp 3/4 from "my group"`, "58 1/2 from 1.2.3.4", "custom protocol 9 to prefix-list partners", "dns (tcp) from 'to'",
		"-1 from pl-1", "1 echo-request from ::/0", "ping6 from sg-",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range []Direction{Ingress, Egress} {
			perms, err := ruleTestNames().ParseRule(text, d)
			if err != nil {
				if e, ok := errors.AsType[*RuleError](err); !ok || e.Column < 1 || e.Problem == "" || e.Want == "" {
					t.Fatalf("%q: error %#v", text, err)
				}
				continue
			}
			if len(perms) == 0 {
				t.Fatalf("%q: no permission and no error", text)
			}
			for _, p := range perms {
				checkRoundTrip(t, p, d)
			}
		}
	})
}

func checkRoundTrip(t *testing.T, p Permission, d Direction) {
	t.Helper()
	if n, err := p.Normalize(); err != nil || n != p {
		t.Fatalf("%+v is not normalized: %+v, %v", p, n, err)
	}
	for _, names := range []func(string) string{nil, ruleTestName} {
		words := p.Words(d, names)
		again, err := ruleTestNames().ParseRule(words, d)
		if err != nil || !slices.Equal(again, []Permission{p}) {
			t.Fatalf("%+v\nwords %q\nread as %+v, %v", p, words, again, err)
		}
	}
}

// FuzzRuleWords starts from permissions instead of text.
func FuzzRuleWords(f *testing.F) {
	f.Add(6, 80, 80, uint8(0), false)
	f.Add(1, 8, -1, uint8(1), true)
	f.Add(58, 128, 0, uint8(2), true)
	peers := []string{"0.0.0.0/0", "::/0", "10.0.0.0/8", "2001:db8::/32", "sg-web", "sg-mine", "sg-trap", "sg-99", "pl-two", "pl-1", "1.2.3.4/32"}
	f.Fuzz(func(t *testing.T, proto, from, to int, peer uint8, egress bool) {
		p, err := perm(proto, from, to, peers[int(peer)%len(peers)]).Normalize()
		if err != nil {
			return
		}
		d := Ingress
		if egress {
			d = Egress
		}
		checkRoundTrip(t, p, d)
	})
}

// Every protocol and every ICMP type with every code survives the way to words and back.
func TestWordsRoundTripAll(t *testing.T) {
	for _, peer := range []string{"10.0.0.0/8", "::/0", "sg-web", "pl-partners"} {
		for proto := -1; proto < 256; proto++ {
			checkRoundTrip(t, mustNormalize(t, perm(proto, 1, 1, peer)), Ingress)
		}
		for _, proto := range []int{1, 58} {
			checkRoundTrip(t, perm(proto, -1, -1, peer), Egress)
			for typ := range 256 {
				for _, code := range []int{-1, 0, 1, 3, 4, 255} {
					checkRoundTrip(t, perm(proto, typ, code, peer), Ingress)
				}
			}
		}
	}
}

func mustNormalize(t *testing.T, p Permission) Permission {
	t.Helper()
	p, err := p.Normalize()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func BenchmarkParseRule(b *testing.B) {
	for _, rule := range []string{"http from anywhere", "tcp 8000-8100 from web, 10.0.0.0/8", "postgers from web"} {
		b.Run(rule, func(b *testing.B) {
			b.ReportAllocs()
			n := ruleTestNames()
			for b.Loop() {
				_, _ = n.ParseRule(rule, Ingress)
			}
		})
	}
}

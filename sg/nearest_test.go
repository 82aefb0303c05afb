package sg

import (
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestNearest(t *testing.T) {
	tests := []struct {
		name  string
		rules []string
		q     *Query
		want  string
		why   Difference
	}{
		{"peer", []string{"ssh from 10.0.0.0/8", "postgres from sg-app"}, tcp("10.0.1.10", 5432), "postgres from sg-app", PeerDiffers},
		{"port", []string{"ssh from 10.0.0.0/8"}, tcp("10.0.1.10", 5432), "ssh from 10.0.0.0/8", PortDiffers},
		{"protocol", []string{"udp 53 from 10.0.0.0/8"}, tcp("10.0.1.10", 53), "udp 53 from 10.0.0.0/8", ProtocolDiffers},
		{"two things", []string{"ssh from 192.168.0.0/16"}, tcp("10.0.1.10", 53), "ssh from 192.168.0.0/16", PortDiffers | PeerDiffers},
		{"peer before port", []string{"ssh from 10.0.0.0/8", "tcp 53 from 192.168.0.0/16"}, tcp("10.0.1.10", 53), "tcp 53 from 192.168.0.0/16", PeerDiffers},
		{"port before protocol", []string{"udp 53 from 10.0.0.0/8", "tcp 99 from 10.0.0.0/8"}, tcp("10.0.1.10", 53), "tcp 99 from 10.0.0.0/8", PortDiffers},
		{"one thing before two", []string{"ssh from sg-app", "gre from 10.0.0.0/8"}, tcp("10.0.1.10", 53), "gre from 10.0.0.0/8", ProtocolDiffers},
		{"nearest port", []string{"tcp 1-40 from 10.0.0.0/8", "tcp 60 from 10.0.0.0/8"}, tcp("10.0.1.10", 53), "tcp 60 from 10.0.0.0/8", PortDiffers},
		{"nearest prefix", []string{"tcp 53 from 10.0.2.0/24", "tcp 53 from 10.128.0.0/9"}, tcp("10.0.3.10", 53), "tcp 53 from 10.0.2.0/24", PeerDiffers},
		{"same family", []string{"http from anywhere-v6", "http from 192.168.0.0/16"}, tcp("10.0.3.10", 80), "http from 192.168.0.0/16", PeerDiffers},
		{"other family only", []string{"http from anywhere"}, tcp("2001:db8::1", 80), "http from anywhere", PeerDiffers},
		{"lowest id", []string{"http from sg-a", "http from sg-b"}, tcp("10.0.3.10", 80), "http from sg-a", PeerDiffers},
		{"icmp type", []string{"ping from anywhere"}, icmp("10.0.3.10", 13, 0), "ping from anywhere", PortDiffers},
		{"all protocols", []string{"all from sg-a"}, tcp("10.0.3.10", 80), "all from sg-a", PeerDiffers},
		{"missing prefix list", []string{"http from pl-1"}, tcp("10.0.3.10", 80), "http from pl-1", PeerDiffers},
		{"fragment", []string{"http from sg-a"}, &Query{Remote: addr("10.0.0.1"), Proto: 6, NoPorts: true}, "http from sg-a", PeerDiffers},
		{"only the direction asked for", []string{"http to anywhere"}, tcp("10.0.3.10", 80), "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := NewRegistry()
			p := Compile(r, []*vpc.SecurityGroup{group(t, "sg-x", tt.rules...)}, nil)
			if p.Ingress(tt.q).Accept {
				t.Fatal("the query is not one that is rejected")
			}
			rule, why := p.Nearest(vpc.Ingress, tt.q)
			got := ""
			if info := r.RuleInfo(rule); info != nil {
				got = info.Words
			}
			if got != tt.want || why != tt.why {
				t.Errorf("Nearest = %q, %v; want %q, %v", got, why, tt.want, tt.why)
			}
		})
	}
}

func TestDifferenceString(t *testing.T) {
	for d, want := range map[Difference]string{
		0: "", PeerDiffers: "peer", PortDiffers | PeerDiffers: "port and peer", ProtocolDiffers | PeerDiffers: "protocol and peer",
	} {
		if got := d.String(); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}

package vswitch

import (
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// TestTrackedOutlivesItsRule is CT-01, also when the other direction's rules go; a new connection is judged
// by the new rules.
func TestTrackedOutlivesItsRule(t *testing.T) {
	w, web, app := opened(t)
	w.revoke("app", "tcp 8080 from web")
	w.revoke("app", "all to anywhere")
	w.revoke("web", "all to anywhere")
	for range 2 { // judged anew, then from the cache
		web.passes(app, web.seg(app, 40000, 8080, packet.ACK, 101, 501, 5))
		app.passes(web, app.seg(web, 8080, 40000, packet.ACK, 501, 106, 5))
	}
	web.rejected(ReasonNoRule, web.tcp(app, 40001, 8080, syn))
	app.rejected(ReasonNoRule, app.tcp(web, 40001, 8080, syn))
	w.balanced()
}

// TestReevaluate: with the VPC's tag connections do not outlive their rules, and live on with others that admit them.
func TestReevaluate(t *testing.T) {
	w, web, app := opened(t)
	w.tag("reevaluate")
	request := web.seg(app, 40000, 8080, packet.ACK, 101, 501, 5)
	reply := app.seg(web, 8080, 40000, packet.ACK, 501, 101, 5)
	web.passes(app, request)
	w.authorize("app", "tcp 8000-9000 from web")
	w.revoke("app", "tcp 8080 from web")
	web.passes(app, request)
	app.passes(web, reply)
	w.revoke("app", "all to anywhere") // the reply's direction needs no rule as long as the connection has one
	app.passes(web, reply)
	w.revoke("app", "tcp 8000-9000 from web")
	web.rejected(ReasonNoRule, request)
	app.rejected(ReasonNoRule, reply)
	w.authorize("app", "tcp 8080 from web")
	web.passes(app, web.tcp(app, 40000, 8080, syn))
	w.balanced()
}

// TestTagHoldsAtOnce: a connection whose rule went earlier is cut when the VPC starts to reevaluate.
func TestTagHoldsAtOnce(t *testing.T) {
	w, web, app := opened(t)
	request := web.seg(app, 40000, 8080, packet.ACK, 101, 501, 5)
	w.revoke("app", "tcp 8080 from web")
	web.passes(app, request)
	w.tag("reevaluate")
	web.rejected(ReasonNoRule, request)
	w.balanced()
}

// TestReevaluatePing asks the rules for the type that opened the flow, not for the reply's.
func TestReevaluatePing(t *testing.T) {
	w, web, app := pair(t, "ping from web")
	w.tag("reevaluate")
	w.revoke("app", "all to anywhere")
	web.passes(app, web.ping(app, 7, 1))
	app.passes(web, app.pong(web, 7, 1))
	w.authorize("app", "tcp 1 from web")
	app.passes(web, app.pong(web, 7, 1))
	w.revoke("app", "ping from web")
	app.rejected(ReasonNoRule, app.pong(web, 7, 1))
	w.balanced()
}

// TestMembership is SG-05: an interface that joins a group matches the rules that name it with its next new
// flow, and one that leaves it does not; tracked flows live on.
func TestMembership(t *testing.T) {
	w, web, app := pair(t, "tcp 8080 from web")
	w.group("other")
	late := w.instance("late-1", "a", "10.0.1.11", "other")
	late.rejected(ReasonNoRule, late.tcp(app, 1, 8080, syn))
	w.groups("late-1", "other", "web")
	late.passes(app, late.tcp(app, 1, 8080, syn)) // the very flow that was rejected
	late.passes(app, late.tcp6(app, 1, 8080, syn))
	w.groups("late-1", "other")
	late.passes(app, late.tcp(app, 1, 8080, ack))
	late.rejected(ReasonNoRule, late.tcp(app, 2, 8080, syn))
	web.passes(app, web.tcp(app, 1, 8080, syn))
	w.balanced()
}

// TestInterfaceChangesGroups: rules of the interface's new groups hold for new flows, in both directions.
func TestInterfaceChangesGroups(t *testing.T) {
	w, web, app := pair(t)
	w.group("server", "tcp 8080 from web")
	w.group("silent")
	w.revoke("silent", "all to anywhere")
	web.rejected(ReasonNoRule, web.tcp(app, 1, 8080, syn))
	w.groups("app-1", "app", "server")
	web.passes(app, web.tcp(app, 1, 8080, syn))
	w.groups("app-1", "silent")
	web.passes(app, web.tcp(app, 1, 8080, ack)) // tracked
	app.passes(web, app.tcp(web, 8080, 1, ack))
	web.rejected(ReasonNoRule, web.tcp(app, 2, 8080, syn))
	app.rejected(ReasonNoRule, app.tcp(web, 2, 8080, syn))
	w.balanced()
}

func TestPrefixList(t *testing.T) {
	w, web, app := pair(t)
	var list *vpc.PrefixList
	entries := func(add, remove string) {
		t.Helper()
		in := vpc.ModifyManagedPrefixListInput{ID: list.ID, CurrentVersion: list.Version}
		if add != "" {
			in.Add = []vpc.PrefixListEntry{{CIDR: netip.MustParsePrefix(add)}}
		}
		if remove != "" {
			in.Remove = []netip.Prefix{netip.MustParsePrefix(remove)}
		}
		w.update(func(tx *vpc.Tx) (err error) { list, err = tx.ModifyManagedPrefixList(in); return err })
	}
	w.update(func(tx *vpc.Tx) (err error) {
		in := vpc.CreateManagedPrefixListInput{Family: 4, MaxEntries: 5}
		in.Name = "clients"
		list, err = tx.CreateManagedPrefixList(in)
		return err
	})
	w.authorize("app", "udp 53 from "+list.ID)
	query := web.udp(app, 1, 53, "q")
	web.rejected(ReasonNoRule, query)
	entries("10.0.1.0/24", "")
	web.passes(app, query)
	app.passes(web, app.udp(web, 53, 1, "a"))
	entries("192.0.2.0/24", "10.0.1.0/24")
	web.passes(app, query) // tracked: a list is not anywhere
	web.rejected(ReasonNoRule, web.udp(app, 2, 53, "q"))
	w.balanced()
}

// TestDeletedInterface takes its halves with it, keeps its records, and leaves no way to it.
func TestDeletedInterface(t *testing.T) {
	w, web, app := opened(t)
	id := app.eni
	w.remove("app-1")
	web.expect(ReasonNoDestination, web.seg(app, 40000, 8080, packet.ACK, 101, 501, 5))
	w.sw.Halves(func(h HalfState) bool {
		if h.Interface != web.eni {
			t.Errorf("%+v is left", h)
		}
		return true
	})
	if n, bytes := total(w.records(), id, vpc.Ingress, 1); n != 2 || bytes != 80 {
		t.Errorf("the deleted interface's ingress: %d packets, %d bytes; want 2, 80", n, bytes)
	}
	// Another interface with the same address knows nothing of the connection.
	again := w.instance("app-2", "b", "10.0.2.10", "app")
	w.revoke("app", "tcp 8080 from web")
	web.rejected(ReasonNoRule, web.seg(again, 40000, 8080, packet.ACK, 101, 501, 5))
	w.balanced()
}

// TestSecondaryAddresses: each address of an interface is reached, is its own to send from, and counts as a
// member of its groups; recorded under the primary.
func TestSecondaryAddresses(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	assign := func(name string, a string) {
		w.update(func(tx *vpc.Tx) error {
			_, err := tx.AssignPrivateIpAddresses(vpc.AssignAddressesInput{ID: w.names[name], Addresses: []netip.Addr{addr(a)}})
			return err
		})
	}
	toSecond := web.udpTo("10.0.2.20", RouterMAC)
	fromSecond := web.udpFrom(addr("10.0.1.20"), "10.0.2.20", web.mac, RouterMAC)
	web.expect(ReasonNoDestination, toSecond)
	assign("app-1", "10.0.2.20")
	web.passes(app, toSecond)
	web.expect(ReasonSpoofedIP, fromSecond)
	assign("web-1", "10.0.1.20")
	web.passes(app, fromSecond)
	for _, r := range w.records() {
		shown := map[vpc.Direction]string{vpc.Egress: r.SrcAddr().String(), vpc.Ingress: r.DstAddr().String()}[r.Direction]
		if want := map[vpc.Direction]string{vpc.Egress: "10.0.1.10", vpc.Ingress: "10.0.2.10"}[r.Direction]; shown != want {
			t.Errorf("%s record shows %s, want the primary address %s", r.Direction, shown, want)
		}
		if dst := r.Tuple.Dst.String(); dst != "10.0.2.20" {
			t.Errorf("the packet's destination is recorded as %s", dst)
		}
	}
	w.update(func(tx *vpc.Tx) error {
		_, err := tx.UnassignPrivateIpAddresses(vpc.UnassignAddressesInput{ID: web.eni, Addresses: []netip.Addr{addr("10.0.1.20")}})
		return err
	})
	web.expect(ReasonSpoofedIP, fromSecond)
	w.balanced()
}

// TestAddressMoves: what was cached for an address that moves to another interface does not stay behind.
func TestAddressMoves(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	w.group("strict")
	second := w.instance("app-2", "b", "10.0.2.11", "app")
	strict := w.instance("strict-1", "b", "10.0.2.12", "strict")
	float := addr("10.0.2.50")
	move := func(to string) {
		w.update(func(tx *vpc.Tx) error {
			_, err := tx.AssignPrivateIpAddresses(vpc.AssignAddressesInput{ID: w.names[to], Addresses: []netip.Addr{float}, AllowReassignment: true})
			return err
		})
	}
	query := web.udpTo("10.0.2.50", RouterMAC)
	move("app-1")
	web.passes(app, query)
	web.passes(app, query)
	move("app-2")
	web.passes(second, query)
	web.passes(second, query)
	move("strict-1")
	web.rejected(ReasonNoRule, query)
	move("app-1")
	web.passes(app, query)
	strict.expect(ReasonSpoofedIP, strict.udpFrom(float, "10.0.1.10", strict.mac, RouterMAC))
	w.balanced()
}

// TestRemoteMoves: the address of a group's member moves to an interface that is not in the group.
func TestRemoteMoves(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	w.group("other")
	other := w.instance("other-1", "a", "10.0.1.11", "other")
	float := addr("10.0.1.50")
	move := func(to string) {
		w.update(func(tx *vpc.Tx) error {
			_, err := tx.AssignPrivateIpAddresses(vpc.AssignAddressesInput{ID: w.names[to], Addresses: []netip.Addr{float}, AllowReassignment: true})
			return err
		})
	}
	from := func(p *stubPort, sport uint16) []byte {
		f := p.udpFrom(float, "10.0.2.10", p.mac, RouterMAC)
		f[34], f[35] = byte(sport>>8), byte(sport)
		return f
	}
	move("web-1")
	web.send(from(web, 1))
	if len(app.take()) != 1 {
		t.Fatal("a member's second address is not taken for one")
	}
	move("other-1")
	other.rejected(ReasonNoRule, from(other, 2))
	web.expect(ReasonSpoofedIP, from(web, 3))
	w.balanced()
}

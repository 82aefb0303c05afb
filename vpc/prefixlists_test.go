package vpc_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func entries(cidrs ...string) []vpc.PrefixListEntry {
	var out []vpc.PrefixListEntry
	for _, s := range cidrs {
		out = append(out, vpc.PrefixListEntry{CIDR: pfx(s)})
	}
	return out
}

func entriesOf(l *vpc.PrefixList) []vpc.PrefixListEntry { return slices.Clone(l.Entries) }

func TestPrefixListVersions(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	name := "branches"
	f.do(t, func(tx *vpc.Tx) error {
		l, err := tx.ModifyManagedPrefixList(vpc.ModifyManagedPrefixListInput{ID: f.list.ID, CurrentVersion: 1, Add: entries("10.1.2.3/16", "10.2.0.0/16")})
		if err != nil {
			return err
		}
		if l.Version != 2 || !reflect.DeepEqual(l.Entries[1:], entries("10.1.0.0/16", "10.2.0.0/16")) {
			t.Errorf("list %+v", l)
		}
		second, cidrs := l, entriesOf(l)
		defer func() {
			if !reflect.DeepEqual(entriesOf(second), cidrs) {
				t.Errorf("version 2 was mutated: %v, was %v", entriesOf(second), cidrs)
			}
		}()
		l, err = tx.ModifyManagedPrefixList(vpc.ModifyManagedPrefixListInput{ID: f.list.ID, CurrentVersion: 2, MaxEntries: 2, Name: &name,
			Remove: []netip.Prefix{pfx("10.1.9.9/16")}, Add: []vpc.PrefixListEntry{{CIDR: pfx("198.51.100.0/24"), Description: "two"}}})
		if err != nil {
			return err
		}
		want := []vpc.PrefixListEntry{{CIDR: pfx("198.51.100.0/24"), Description: "two"}, {CIDR: pfx("10.2.0.0/16")}}
		if l.Version != 3 || l.MaxEntries != 2 || l.Name != name || !reflect.DeepEqual(l.Entries, want) {
			t.Errorf("list %+v", l)
		}
		l, err = tx.ModifyManagedPrefixList(vpc.ModifyManagedPrefixListInput{ID: f.list.ID, MaxEntries: 5}) // needs no version and makes none
		if err == nil && (l.Version != 3 || l.MaxEntries != 5) {
			t.Errorf("list %+v", l)
		}
		return err
	})
	if f.list.Version != 1 || len(f.list.Entries) != 1 || f.list.Entries[0].Description != "one" {
		t.Errorf("the stored object was mutated: %+v", f.list)
	}
	if l, ok := f.store.View().PrefixListNamed("lab", name); !ok || l.ID != f.list.ID {
		t.Error("not found by its new name")
	}
}

func TestPrefixListErrors(t *testing.T) {
	create := func(edit func(*vpc.CreateManagedPrefixListInput)) func(*fixture, *vpc.Tx) error {
		return func(_ *fixture, tx *vpc.Tx) error {
			in := vpc.CreateManagedPrefixListInput{Owner: vpc.Owner{Name: "l"}, Family: 4, MaxEntries: 2}
			edit(&in)
			return errOf(tx.CreateManagedPrefixList(in))
		}
	}
	modify := func(edit func(*vpc.ModifyManagedPrefixListInput)) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			in := vpc.ModifyManagedPrefixListInput{ID: f.list.ID, CurrentVersion: 1}
			edit(&in)
			return errOf(tx.ModifyManagedPrefixList(in))
		}
	}
	empty := ""
	refuse(t, vpc.Config{}, []refusal{
		{"family", create(func(in *vpc.CreateManagedPrefixListInput) { in.Family = 5 }), "InvalidParameterValue", say("Value (5) for parameter addressFamily is invalid."), "Family", "4 or 6"},
		{"no name", create(func(in *vpc.CreateManagedPrefixListInput) { in.Name = "" }), "MissingParameter", say("The request must contain the parameter PrefixListName"), "Name", ""},
		{"AWS's name", create(func(in *vpc.CreateManagedPrefixListInput) { in.Name = "com.amazonaws.us-east-1.s3" }),
			"InvalidParameterValue", say("Value (com.amazonaws.us-east-1.s3) for parameter PrefixListName is invalid. ..."), "Name", ""},
		{"a long name", create(func(in *vpc.CreateManagedPrefixListInput) { in.Name = strings.Repeat("n", 256) }), "InvalidParameterValue", say("Value (nnn..."), "Name", ""},
		{"no maximum", create(func(in *vpc.CreateManagedPrefixListInput) { in.MaxEntries = 0 }), "InvalidParameterValue", say("Value (0) for parameter maxEntries is invalid."), "MaxEntries", "1 to 1000"},
		{"a large maximum", create(func(in *vpc.CreateManagedPrefixListInput) { in.MaxEntries = 1001 }), "InvalidParameterValue", say("Value (1001) for parameter maxEntries is invalid."), "MaxEntries", "1 to 1000"},
		{"more than the maximum", create(func(in *vpc.CreateManagedPrefixListInput) {
			in.Entries = entries("10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8")
		}),
			"PrefixListMaxEntriesExceeded", say("The prefix list would have 3 entries; its maximum is 2."), "Entries", ""},
		{"IPv6 in a list for IPv4", create(func(in *vpc.CreateManagedPrefixListInput) { in.Entries = entries("10.0.0.0/8", "2001:db8::/32") }),
			"InvalidParameterValue", say("The CIDR 2001:db8::/32 is not an IPv4 CIDR block."), "Entries[1].CIDR", ""},
		{"no CIDR in an entry", create(func(in *vpc.CreateManagedPrefixListInput) { in.Family, in.Entries = 6, make([]vpc.PrefixListEntry, 1) }),
			"InvalidParameterValue", say("The CIDR invalid Prefix is not an IPv6 CIDR block."), "Entries[0].CIDR", ""},
		{"twice", create(func(in *vpc.CreateManagedPrefixListInput) { in.Entries = entries("10.0.0.0/8", "10.1.2.3/8") }),
			"InvalidParameterValue", say("The CIDR 10.0.0.0/8 appears more than once."), "Entries[1].CIDR", ""},
		{"a bad description", create(func(in *vpc.CreateManagedPrefixListInput) {
			in.Entries = []vpc.PrefixListEntry{{CIDR: pfx("10.0.0.0/8"), Description: strings.Repeat("d", 256)}}
		}), "InvalidParameterValue", say("Value (ddd..."), "Entries[0].Description", ""},
		{"another version", modify(func(in *vpc.ModifyManagedPrefixListInput) { in.CurrentVersion, in.Add = 2, entries("10.0.0.0/8") }),
			"PrefixListVersionMismatch", say("The prefix list has the version 1, not 2."), "CurrentVersion", ""},
		{"no version", modify(func(in *vpc.ModifyManagedPrefixListInput) { in.CurrentVersion, in.Add = 0, entries("10.0.0.0/8") }),
			"MissingParameter", say("The request must contain the parameter currentVersion"), "CurrentVersion", ""},
		{"remove what is not there", modify(func(in *vpc.ModifyManagedPrefixListInput) { in.Remove = []netip.Prefix{pfx("10.0.0.0/8")} }),
			"InvalidParameterValue", say("The prefix list has no entry 10.0.0.0/8."), "Remove[0]", ""},
		{"a smaller maximum than entries", modify(func(in *vpc.ModifyManagedPrefixListInput) { in.MaxEntries, in.Add = 1, entries("10.0.0.0/8") }),
			"PrefixListMaxEntriesExceeded", say("The prefix list would have 2 entries; its maximum is 1."), "Add", ""},
		{"rename to nothing", modify(func(in *vpc.ModifyManagedPrefixListInput) { in.Name = &empty }),
			"MissingParameter", say("The request must contain the parameter PrefixListName"), "Name", ""},
		{"modify what is not there", modify(func(in *vpc.ModifyManagedPrefixListInput) { in.ID = absent("pl") }),
			"InvalidPrefixListID.NotFound", say("The prefix list ID 'pl-0123456789abcdef0' does not exist"), "ID", ""},
		{"delete a name", func(_ *fixture, tx *vpc.Tx) error { return tx.DeleteManagedPrefixList("offices") },
			"InvalidPrefixListId.Malformed", say(`Invalid id: "offices" (expecting "pl-...")`), "ID", ""},
	})
	refuse(t, vpc.Config{Quotas: vpc.Quotas{PrefixLists: 2}}, []refusal{
		{"one too many", create(func(*vpc.CreateManagedPrefixListInput) {}), "PrefixListLimitExceeded", say("The maximum number of prefix lists has been reached."), "", "2"},
	})
}

func TestPrefixListInUse(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	perm := tcp(443, peerList(f.list.ID))
	f.do(t, func(tx *vpc.Tx) error {
		return errOf(tx.AuthorizeSecurityGroupIngress(vpc.AuthorizeSecurityGroupInput{GroupID: f.web.ID, Rules: []vpc.RuleSpec{{Permission: perm}}}))
	})
	f.do(t, func(tx *vpc.Tx) error {
		err := tx.DeleteManagedPrefixList(f.list.ID)
		if vpc.ErrorCode(err) != "DependencyViolation" || !strings.Contains(err.(*vpc.Error).Hint, "(web)") {
			t.Errorf("deleting a list in use: %v", err)
		}
		// The list counts as its maximum in each group that names it, so the maximum cannot grow past the group's quota.
		_, err = tx.ModifyManagedPrefixList(vpc.ModifyManagedPrefixListInput{ID: f.list.ID, MaxEntries: 61})
		if vpc.ErrorCode(err) != "RulesPerSecurityGroupLimitExceeded" || err.(*vpc.Error).Field != "MaxEntries" {
			t.Errorf("a maximum of 61: %v", err)
		}
		if l, _ := tx.PrefixList(f.list.ID); l != f.list {
			t.Errorf("the refused change left %+v", l)
		}
		if _, err := tx.ModifyManagedPrefixList(vpc.ModifyManagedPrefixListInput{ID: f.list.ID, MaxEntries: 60}); err != nil {
			return err
		}
		if _, err := tx.RevokeSecurityGroupIngress(vpc.RevokeSecurityGroupInput{GroupID: f.web.ID, Permissions: []vpc.Permission{perm}}); err != nil {
			return err
		}
		return tx.DeleteManagedPrefixList(f.list.ID)
	})
}

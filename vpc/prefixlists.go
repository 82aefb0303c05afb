package vpc

import (
	"net/netip"
	"slices"
	"strings"
)

// CreateManagedPrefixList makes a prefix list at version 1. Errors: MissingParameter, InvalidParameterValue,
// PrefixListMaxEntriesExceeded (more entries than the maximum), PrefixListLimitExceeded.
func (tx *Tx) CreateManagedPrefixList(in CreateManagedPrefixListInput) (*PrefixList, error) {
	return command(tx, func() (*PrefixList, error) { return tx.createList(in) })
}

func (tx *Tx) createList(in CreateManagedPrefixListInput) (*PrefixList, error) {
	if in.Family != 4 && in.Family != 6 {
		return nil, fail("InvalidParameterValue", "Family", "Value (%d) for parameter addressFamily is invalid.", in.Family).
			hint("use 4 or 6")
	}
	if err := tx.checkList(in.Name, in.MaxEntries); err != nil {
		return nil, err
	}
	err := tx.room(tx.cfg.Quotas.PrefixLists, KindPrefixList, "PrefixListLimitExceeded", "prefix lists")
	if err != nil {
		return nil, err
	}
	meta, err := tx.meta(prefixPList, in.Owner)
	if err != nil {
		return nil, err
	}
	l := &PrefixList{Meta: meta, Family: in.Family, MaxEntries: in.MaxEntries, Version: 1}
	if err := l.extend(in.Entries, "Entries"); err != nil {
		return nil, err
	}
	tx.put(l)
	return l, nil
}

// checkList checks a list's name and maximum.
func (tx *Tx) checkList(name string, maxEntries int) error {
	switch {
	case name == "":
		return fail("MissingParameter", "Name", "The request must contain the parameter PrefixListName")
	case len(name) > 255 || strings.HasPrefix(strings.ToLower(name), "com.amazonaws"):
		return fail("InvalidParameterValue", "Name", "Value (%s) for parameter PrefixListName is invalid. A name has up to "+
			"255 characters and cannot start with com.amazonaws.", name)
	}
	if quota := tx.cfg.Quotas.EntriesPerPrefixList; maxEntries < 1 || maxEntries > quota {
		return fail("InvalidParameterValue", "MaxEntries", "Value (%d) for parameter maxEntries is invalid.", maxEntries).
			hint("use 1 to %d", quota)
	}
	return nil
}

// extend appends entries to a list that is not stored yet and shares its entries with no other; a CIDR that it has
// gets the new description.
func (l *PrefixList) extend(add []PrefixListEntry, field string) error {
	entries := l.Entries
	seen := map[netip.Prefix]bool{}
	for i, e := range add {
		e.CIDR = e.CIDR.Masked()
		if err := l.checkEntry(e); err != nil {
			return within(err, element(field, i))
		}
		if seen[e.CIDR] {
			return fail("InvalidParameterValue", element(field, i)+".CIDR", "The CIDR %s appears more than once.", e.CIDR)
		}
		seen[e.CIDR] = true
		at := slices.IndexFunc(entries, func(old PrefixListEntry) bool { return old.CIDR == e.CIDR })
		if at < 0 {
			entries = append(entries, e)
		} else {
			entries[at] = e
		}
	}
	if len(entries) > l.MaxEntries {
		return fail("PrefixListMaxEntriesExceeded", field, "The prefix list would have %d entries; its maximum is %d.",
			len(entries), l.MaxEntries)
	}
	l.Entries = entries
	return nil
}

func (l *PrefixList) checkEntry(e PrefixListEntry) error {
	a := e.CIDR.Addr()
	if a.Is4() != (l.Family == 4) || !a.IsValid() || a.Is4In6() {
		return fail("InvalidParameterValue", "CIDR", "The CIDR %s is not an IPv%d CIDR block.", e.CIDR, l.Family)
	}
	return printable(e.Description, 255, "Description", "Value (%s) for parameter description is invalid.")
}

// ModifyManagedPrefixList changes a list; rules that name it follow at once. A change of entries needs the current
// version and makes the next. Errors: InvalidPrefixListID.NotFound, PrefixListVersionMismatch,
// PrefixListMaxEntriesExceeded, RulesPerSecurityGroupLimitExceeded (a larger maximum counts in each group that names
// the list), InvalidParameterValue, MissingParameter.
func (tx *Tx) ModifyManagedPrefixList(in ModifyManagedPrefixListInput) (*PrefixList, error) {
	return command(tx, func() (*PrefixList, error) { return tx.modifyList(in) })
}

func (tx *Tx) modifyList(in ModifyManagedPrefixListInput) (*PrefixList, error) {
	old, err := need[*PrefixList](&tx.View, KindPrefixList, in.ID, "ID")
	if err != nil {
		return nil, err
	}
	l := *old
	if in.MaxEntries != 0 {
		l.MaxEntries = in.MaxEntries
	}
	if in.Name != nil {
		l.Name = *in.Name
	}
	if err := tx.checkList(l.Name, l.MaxEntries); err != nil {
		return nil, err
	}
	if l.Name != old.Name {
		if err := checkTag("Name", l.Name); err != nil {
			return nil, err
		}
	}
	if err := l.edit(in); err != nil {
		return nil, err
	}
	tx.put(&l)
	for _, g := range tx.GroupsUsingPrefixList(l.ID) {
		for _, d := range []Direction{Ingress, Egress} {
			if err := tx.rulesFit(g, d); err != nil && l.MaxEntries > old.MaxEntries {
				return nil, fieldOf(err, "MaxEntries")
			}
		}
	}
	return &l, nil
}

// edit makes the change of entries on a list that is not stored yet.
func (l *PrefixList) edit(in ModifyManagedPrefixListInput) error {
	if len(in.Add)+len(in.Remove) > 0 {
		if in.CurrentVersion == 0 {
			return fail("MissingParameter", "CurrentVersion", "The request must contain the parameter currentVersion")
		}
		if in.CurrentVersion != l.Version {
			return fail("PrefixListVersionMismatch", "CurrentVersion", "The prefix list has the version %d, not %d.",
				l.Version, in.CurrentVersion)
		}
		l.Version++
	}
	l.Entries = slices.Clone(l.Entries)
	for i, p := range in.Remove {
		at := slices.IndexFunc(l.Entries, func(e PrefixListEntry) bool { return e.CIDR == p.Masked() })
		if at < 0 {
			return fail("InvalidParameterValue", element("Remove", i), "The prefix list has no entry %s.", p)
		}
		l.Entries = slices.Delete(l.Entries, at, at+1)
	}
	return l.extend(in.Add, "Add")
}

// DeleteManagedPrefixList deletes a list that no rule names.
// Errors: InvalidPrefixListID.NotFound, InvalidPrefixListId.Malformed, DependencyViolation.
func (tx *Tx) DeleteManagedPrefixList(id string) error {
	_, err := command(tx, func() (*PrefixList, error) {
		l, err := need[*PrefixList](&tx.View, KindPrefixList, id, "ID")
		if err != nil {
			return nil, err
		}
		if g, ok := first[*SecurityGroup](&tx.View, KindSecurityGroup, byList, id); ok {
			return nil, inUse("The prefix list '%s' is in use and cannot be deleted.", id, g)
		}
		tx.drop(l)
		return l, nil
	})
	return err
}

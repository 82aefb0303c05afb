package vpc

import (
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"
)

// meta makes what a new object has besides its own attributes, with a new id.
func (tx *Tx) meta(prefix string, in Owner) (Meta, error) {
	m := Meta{Name: in.Name, Lab: in.Lab}
	if err := printable(in.Lab, 255, "Lab", "Value (%s) for parameter lab is invalid."); err != nil {
		return m, err
	}
	set := maps.Clone(in.Tags)
	if in.Name != "" {
		if set == nil {
			set = map[string]string{}
		}
		if old, ok := set["Name"]; ok && old != in.Name {
			return m, fail("InvalidParameterCombination", "Tags", "The tag Name is given twice: %q and %q", in.Name, old)
		}
		set["Name"] = in.Name
	}
	m, err := tx.tagged(m, set, nil)
	if err != nil {
		return m, err
	}
	m.ID = tx.newID(prefix)
	return m, nil
}

func (tx *Tx) newID(prefix string) string {
	return tx.model.ids.id(prefix, func(id string) bool { _, taken := tx.Object(id); return taken })
}

// tagged is m with tags set and removed, in the order remove, set.
func (tx *Tx) tagged(m Meta, set map[string]string, remove []string) (Meta, error) {
	all := maps.Clone(m.Tags)
	if all == nil {
		all = map[string]string{}
	}
	if m.Name != "" {
		all["Name"] = m.Name
	}
	for _, k := range remove {
		delete(all, k)
	}
	for k, v := range set {
		if err := checkTag(k, v); err != nil {
			return m, err
		}
		all[k] = v
	}
	if len(all) > tx.cfg.Quotas.TagsPerResource {
		return m, fail("TagLimitExceeded", "Tags", "The maximum number of Tags for a resource has been reached.")
	}
	m.Name = all["Name"]
	delete(all, "Name")
	if len(all) == 0 {
		all = nil
	}
	m.Tags = all
	return m, nil
}

// checkTag checks one tag (EC2 user guide, "Tag your Amazon EC2 resources").
func checkTag(k, v string) error {
	field := "Tags"
	if k == "Name" {
		field = "Name"
	}
	switch {
	case k == "":
		return fail("InvalidTagKey.Malformed", field, "Tag keys cannot be empty")
	case strings.HasPrefix(strings.ToLower(k), "aws:"):
		return fail("InvalidTagKey.Malformed", field, "Tag keys starting with 'aws:' are reserved for internal use")
	}
	if err := printable(k, 128, field, "Tag key exceeds the maximum length of 128 characters or is not text: %s"); err != nil {
		return err
	}
	return printable(v, 256, field, "Tag value exceeds the maximum length of 256 characters or is not text: %s")
}

// printable checks that s is text of at most n characters without control characters (the indexes rely on that).
func printable(s string, n int, field, message string) error {
	if utf8.RuneCountInString(s) > n || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return fail("InvalidParameterValue", field, message, strings.ToValidUTF8(s, "?"))
	}
	return nil
}

// SetTags removes and sets tags of an object of any kind; removing one that is not there is no error. The key "Name"
// is the object's name. Errors: TagLimitExceeded, InvalidTagKey.Malformed, InvalidParameterValue, InvalidID, the kind's NotFound.
func (tx *Tx) SetTags(in SetTagsInput) error {
	_, err := command(tx, func() (struct{}, error) {
		kind, ok := KindOf(in.ResourceID)
		if !ok {
			return struct{}{}, fail("InvalidID", "ResourceID", "The ID '%s' is not valid", in.ResourceID)
		}
		o, err := need[Object](&tx.View, kind, in.ResourceID, "ResourceID")
		if err != nil {
			return struct{}{}, err
		}
		m, err := tx.tagged(o.Metadata(), in.Set, in.Remove)
		if err != nil {
			return struct{}{}, err
		}
		if _, ok := o.(*PrefixList); ok && m.Name == "" {
			return struct{}{}, fail("InvalidParameterValue", "Set", "A prefix list must have a name")
		}
		if old := o.Metadata(); m.Name != old.Name || !maps.Equal(m.Tags, old.Tags) {
			tx.put(o.withMeta(m))
		}
		return struct{}{}, nil
	})
	return err
}

package vpc

// TAP is what an instance's driver has to know of a TAP that another program holds, as the user gave it; the model only
// keeps it. It is immutable.
type TAP struct {
	Device       string
	Make         bool   // the device is made for that program; else it is the program's own
	Owner, Group string // of a device that is made
	Netns        string // "": the agent's own network namespace
	Learn        bool   // the interface's MAC is that of the first frame
	Attached     bool   // live, by a command: no lab file has it
}

// Equal compares two descriptions; nil is none.
func (t *TAP) Equal(u *TAP) bool {
	if t == nil || u == nil {
		return t == u
	}
	return *t == *u
}

func (t *TAP) clone() *TAP {
	if t == nil {
		return nil
	}
	c := *t
	return &c
}

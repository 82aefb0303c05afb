package netns

// NewBy returns a driver that knows one way only.
func NewBy(way Way) *Driver { return &Driver{ways{only: way}} }

// NewWithout returns a driver whose sandboxes find no overlay file system.
func NewWithout(way Way) *Driver { return &Driver{ways{only: way, overlay: "no-such-fs"}} }

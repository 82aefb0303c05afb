//go:build unix && !linux

package conntrack

func advise([]byte) {}

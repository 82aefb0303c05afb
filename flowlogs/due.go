package flowlogs

// Due tells whether a window has ended by now (Unix nanoseconds) that Seal has not closed. Whoever
// counts elsewhere first hands over what it has, then seals.
func (a *Aggregator) Due(now int64) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.config.Bounds(seconds(now)).Start > a.floor
}

package flowlogs

// choose leaves in s.chosen what the subscription asked for. An interface none of whose flows of a
// window are of the subscription's traffic type has a NODATA record for the window.
func (s *subscription) choose(batch []Record) {
	s.chosen = s.chosen[:0]
	for len(batch) > 0 {
		n := 1
		for n < len(batch) && batch[n].Interface.ID == batch[0].Interface.ID && batch[n].Window == batch[0].Window {
			n++
		}
		if s.covers(batch[0].Interface) {
			s.chooseWindow(batch[:n])
		}
		batch = batch[n:]
	}
}

// chooseWindow takes the records of one interface in one window.
func (s *subscription) chooseWindow(group []Record) {
	before := len(s.chosen)
	for i := range group {
		if s.wants(&group[i]) {
			s.chosen = append(s.chosen, group[i])
		}
	}
	if len(s.chosen) == before {
		s.chosen = append(s.chosen, noData(group[0].Interface, group[0].Window))
	}
}

func (s *subscription) wants(r *Record) bool {
	switch {
	case r.Status != OK:
		return true
	case s.flowLog.TrafficType == "ALL":
		return true
	}
	return s.flowLog.TrafficType == r.Action.String()
}

// covers says whether an interface is, or lies in, the subscription's resource.
func (s *subscription) covers(i *Interface) bool {
	id := s.flowLog.ResourceID
	return id != "" && (id == i.VPCID || id == i.SubnetID || id == i.ID)
}

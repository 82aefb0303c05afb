package render

import (
	"fmt"

	"github.com/vpclab/vpclab/api/agent"
)

// UpReport is all that `up` prints once a lab is up.
type UpReport struct {
	Lab     *agent.ApplyResult `json:"lab"`
	Results []agent.TestResult `json:"results"`
	Summary *agent.TestSummary `json:"summary"` // nil: no tests were run
	Flows   []agent.FlowRow    `json:"flows"`   // that the tests caused
	// Lines prints the records' AWS lines instead of a table.
	Lines bool `json:"-"`
}

// Up prints the lab's instances, its tests, and the flow-log records they caused. It has no CSV form: it is several lists.
func (p *Printer) Up(r *UpReport) error {
	if done, err := p.value(r); done {
		return err
	}
	if err := p.Instances(r.Lab.Instances); err != nil || r.Summary == nil {
		return err
	}
	fmt.Fprintln(p.W)
	if err := p.Tests(r.Results, r.Summary); err != nil || len(r.Flows) == 0 {
		return err
	}
	fmt.Fprintln(p.W)
	if !r.Lines {
		return p.Flows(r.Flows)
	}
	for i := range r.Flows {
		if _, err := fmt.Fprintln(p.W, printable(r.Flows[i].Line)); err != nil {
			return err
		}
	}
	return nil
}

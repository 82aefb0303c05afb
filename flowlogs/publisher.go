package flowlogs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vpclab/vpclab/vpc"
)

// Destination delivers the records of one subscription. The Publisher calls it from one goroutine
// at a time. Each method says how many records, also earlier ones, it had to give up.
type Destination interface {
	// Deliver takes records; they are borrowed until it returns.
	Deliver(records []Record) (lost int, err error)
	// Tick hands on what is due at now, in Unix nanoseconds.
	Tick(now int64) (lost int, err error)
	// Close hands on everything that is left.
	Close() (lost int, err error)
}

// Opener makes the Destination of a subscription.
type Opener func(fl *vpc.FlowLog, f *Format) (Destination, error)

// PublisherConfig sets a Publisher up.
type PublisherConfig struct {
	Dir             string // the folder that holds the buckets; the publisher owns it
	Account, Region string // that the subscriptions belong to
	MaxFileBytes    int64  // a file's size as written; zero: AWS's 75 MB
	// Destinations by LogDestinationType, besides "s3", which is there.
	Destinations map[string]Opener
}

// PublisherStats are a Publisher's counters since it was made.
type PublisherStats struct {
	Records uint64 // records handed to destinations, counted once a subscription
	Lost    uint64 // of these, what a destination had to give up
}

// Publisher gives each subscription the records it asked for. Methods may be called concurrently.
type Publisher struct {
	openers map[string]Opener

	mu            sync.Mutex
	subscriptions map[string]*subscription
	closed        bool
	stats         PublisherStats
}

// subscription is one flow log with its destination.
type subscription struct {
	flowLog *vpc.FlowLog
	to      Destination
	err     error // of the last delivery; nil once one succeeds
	chosen  []Record
}

// NewPublisher makes a Publisher and removes what an earlier one left unfinished in Dir.
func NewPublisher(c PublisherConfig) (*Publisher, error) {
	if err := os.RemoveAll(filepath.Join(c.Dir, partialDir)); err != nil {
		return nil, fmt.Errorf("flowlogs: unfinished files: %w", err)
	}
	p := &Publisher{
		openers:       map[string]Opener{"s3": c.openFiles},
		subscriptions: make(map[string]*subscription),
	}
	for name, open := range c.Destinations {
		p.openers[name] = open
	}
	return p, nil
}

// SetSubscriptions says which subscriptions there are. New ones get what is consumed from now on;
// those no longer there deliver what they have. A subscription that is wrong is left out and told in
// the error, as *vpc.Error where AWS has words for it.
func (p *Publisher) SetSubscriptions(all []*vpc.FlowLog) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	var errs []error
	keep := make(map[string]bool, len(all))
	for _, fl := range all {
		keep[fl.ID] = true
		if p.subscriptions[fl.ID] != nil {
			continue // a subscription never changes: it is deleted and made again
		}
		s, err := p.subscribe(fl)
		if err != nil {
			errs = append(errs, fmt.Errorf("flow log %s: %w", fl.ID, err))
			continue
		}
		p.subscriptions[fl.ID] = s
	}
	for id, s := range p.subscriptions {
		if !keep[id] {
			errs = append(errs, p.run(s, Destination.Close))
			delete(p.subscriptions, id)
		}
	}
	return errors.Join(errs...)
}

var errClosed = errors.New("flowlogs: publisher is closed")

func (p *Publisher) subscribe(fl *vpc.FlowLog) (*subscription, error) {
	format := DefaultFormat()
	if fl.LogFormat != "" {
		var err error
		if format, err = ParseFormat(fl.LogFormat); err != nil {
			return nil, err
		}
	}
	if !slices.Contains([]string{"ACCEPT", "REJECT", "ALL"}, fl.TrafficType) {
		return nil, &vpc.Error{Code: "InvalidParameter", Field: "TrafficType",
			Message: fmt.Sprintf("Invalid traffic type: %s", fl.TrafficType), Hint: "ACCEPT, REJECT or ALL"}
	}
	open := p.openers[fl.LogDestinationType]
	if open == nil {
		return nil, &vpc.Error{Code: "InvalidParameter", Field: "LogDestinationType",
			Message: fmt.Sprintf("Invalid log destination type: %s", fl.LogDestinationType), Hint: "s3"}
	}
	to, err := open(fl, format)
	if err != nil {
		return nil, err
	}
	return &subscription{flowLog: fl, to: to}, nil
}

// Consume takes one batch of Aggregator.Seal, whole and in its order. Call it before Tick at the
// same time, so that a record of a window's last second is in the file of that window.
func (p *Publisher) Consume(batch []Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	return p.each(func(s *subscription) error {
		s.choose(batch)
		if len(s.chosen) == 0 {
			return nil
		}
		p.stats.Records += uint64(len(s.chosen))
		return p.run(s, func(d Destination) (int, error) { return d.Deliver(s.chosen) })
	})
}

// Tick publishes what is due at now, in Unix nanoseconds.
func (p *Publisher) Tick(now int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	return p.each(func(s *subscription) error {
		return p.run(s, func(d Destination) (int, error) { return d.Tick(now) })
	})
}

// Close publishes everything that is left. It is idempotent.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return p.each(func(s *subscription) error { return p.run(s, Destination.Close) })
}

// each runs f for all subscriptions, also when one fails.
func (p *Publisher) each(f func(*subscription) error) error {
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(p.subscriptions)) {
		errs = append(errs, f(p.subscriptions[id]))
	}
	return errors.Join(errs...)
}

// run has a destination do something, counts what it lost and keeps its error.
func (p *Publisher) run(s *subscription, do func(Destination) (int, error)) error {
	lost, err := do(s.to)
	p.stats.Lost += uint64(lost)
	if err != nil {
		err = fmt.Errorf("flow log %s: %w", s.flowLog.ID, err)
	}
	s.err = err
	return err
}

// Err gives the error of a subscription's last delivery: nil means deliverLogsStatus SUCCESS.
func (p *Publisher) Err(flowLogID string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.subscriptions[flowLogID]; s != nil {
		return s.err
	}
	return nil
}

// Stats reads the counters.
func (p *Publisher) Stats() PublisherStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

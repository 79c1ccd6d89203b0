// Package site reaches the two ends of a pair, be they namespaces of this machine, or
// hosts by ssh or by an agent that listens, and starts their agents.
package site

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"zcbench/endpoint"
	"zcbench/experiment"
	"zcbench/results"
)

// Program is what this program gives to the sites that it opens.
type Program struct {
	Version string
	RX, TX  []endpoint.Engine
	Stderr  io.Writer // of agents
	// Recover puts back what a killed agent of this machine has left.
	Recover func(context.Context)
}

// Sites are the open pairs of an experiment, by name.
type Sites map[string]experiment.Site

// Open opens every pair of a spec, and tells of all that cannot be opened.
func (p *Program) Open(ctx context.Context, spec *experiment.Spec) (_ Sites, err error) {
	all := Sites{}
	ticket := rand.Text()
	var errs []error
	for _, pair := range spec.Pairs {
		s, err := p.open(ctx, pair, ticket)
		if err != nil {
			if pair.Name != "" {
				err = fmt.Errorf("pair %s: %w", pair.Name, err)
			}
			errs = append(errs, err)
			continue
		}
		all[pair.Name] = s
	}
	if len(errs) > 0 {
		all.Close()
		return nil, errors.Join(errs...)
	}
	return all, nil
}

func (p *Program) open(ctx context.Context, pair experiment.Pair, ticket string) (experiment.Site, error) {
	if pair.TX.Name != "" {
		return p.openHosts(ctx, pair, ticket)
	}
	return p.OpenLocal(pair.Link)
}

// Close lets go of all pairs.
func (all Sites) Close() {
	for _, s := range all {
		_ = s.Close() // nothing is left to be lost
	}
}

// Survey looks at all pairs.
func (all Sites) Survey(ctx context.Context) (map[string]results.Pair[experiment.Survey], error) {
	at := map[string]results.Pair[experiment.Survey]{}
	for name, s := range all {
		v, err := s.Survey(ctx)
		if err != nil {
			return nil, fmt.Errorf("pair %q: %w", name, err)
		}
		at[name] = v
	}
	return at, nil
}

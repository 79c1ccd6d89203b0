package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"zcbench/endpoint"
	"zcbench/experiment"
	"zcbench/internal/fault"
	"zcbench/internal/feature"
	"zcbench/internal/hostfacts"
	"zcbench/results"
	"zcbench/ringcfg"
)

// sites are the open pairs of an experiment, by name.
type sites map[string]experiment.Site

// openSites opens every pair of a spec, and tells of all that cannot be opened.
func openSites(ctx context.Context, spec *experiment.Spec, stderr io.Writer) (_ sites, err error) {
	all := sites{}
	ticket := rand.Text()
	var errs []error
	for _, p := range spec.Pairs {
		s, err := openSite(ctx, p, ticket, stderr)
		if err != nil {
			if p.Name != "" {
				err = fault.Errorf(fault.Of(err), "pair %s: %w", p.Name, err)
			}
			errs = append(errs, err)
			continue
		}
		all[p.Name] = s
	}
	if len(errs) > 0 {
		all.close()
		return nil, errors.Join(errs...)
	}
	return all, nil
}

func openSite(ctx context.Context, p experiment.Pair, ticket string, stderr io.Writer) (experiment.Site, error) {
	if p.TX.Name != "" {
		return openHosts(ctx, p, ticket, stderr)
	}
	return openHost(p.Link, stderr)
}

func (all sites) close() {
	for _, s := range all {
		_ = s.Close() // nothing is left to be lost
	}
}

// survey looks at all pairs.
func (all sites) survey(ctx context.Context) (map[string]results.Pair[experiment.Survey], error) {
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

// survey looks at this host from the network namespace of the calling thread,
// as one end on s.Interface.
func survey(role endpoint.Role, s *experiment.Survey) (err error) {
	if s.View, err = ringcfg.Show(s.Interface); err != nil {
		return err
	}
	s.Host = hostfacts.Collect(s.Interface, version)
	s.Engines = map[string]feature.Verdict{}
	engines := rxEngines()
	if role == endpoint.TX {
		engines = txEngines()
	}
	for _, e := range engines {
		s.Engines[e.Name()] = e.Probe(s.Interface)
	}
	return nil
}

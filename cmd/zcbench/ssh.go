package main

import (
	"context"
	"os"

	"zcbench/endpoint/driver"
	"zcbench/experiment"
)

// besides starts an agent as a process of its own, so that the CPU time and the
// garbage of reading meters are not those of an end.
func besides(ctx context.Context, _ string, meters []string) (*driver.Client, func(), error) {
	r := reach{name: "meters", host: experiment.Host{Here: true}, stderr: os.Stderr}
	return r.agent(ctx, meters...)
}

// overSSH starts an agent on another host.
func overSSH(ctx context.Context, host string, meters []string) (*driver.Client, func(), error) {
	r := reach{name: "meters on " + host, host: experiment.Host{SSH: host}, stderr: &prefixed{to: os.Stderr, prefix: host + ": "}}
	if err := r.find(ctx); err != nil {
		return nil, nil, err
	}
	return r.agent(ctx, meters...)
}

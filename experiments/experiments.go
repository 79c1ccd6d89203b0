// Package experiments holds the experiments that zcbench comes with.
package experiments

import "embed"

// Files are the specs, as NAME.yaml.
//
//go:embed *.yaml
var Files embed.FS

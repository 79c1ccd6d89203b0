package power

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// NVIDIA's driver tells a GPU's power only through NVIDIA's library, which a
// static program cannot load; nvidia-smi, which comes with it, can. It gives no
// energy counter.
const nvidiaSMI = "nvidia-smi"

// nvidiaInterval is how often nvidia-smi is told to ask. The driver's own value
// changes every 20 to 100 ms, by the generation of the GPU.
const nvidiaInterval = 100 * time.Millisecond

// openNVIDIA opens a GPU by its index, UUID or PCI address.
func openNVIDIA(ctx context.Context, gpu string) (Meter, error) {
	found, err := listNVIDIA(ctx)
	if err != nil {
		return nil, err
	}
	if gpu == "" && len(found) == 1 {
		gpu = found[0].index
	}
	if gpu == "" || strings.HasPrefix(gpu, "-") || strings.Contains(gpu, ",") {
		return nil, noMeter("name one of the %d GPUs, as in nvml:0", len(found))
	}
	// power.draw.instant came with driver 530; before, power.draw was it on all
	// but Ampere and later, where it is the mean of the last second.
	field, late := "power.draw.instant", time.Duration(0)
	if _, err := nvidiaOnce(ctx, "-i", gpu, "--query-gpu="+field); err != nil {
		if field, late = "power.draw", 500*time.Millisecond; ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		out, err := nvidiaOnce(ctx, "-i", gpu, "--query-gpu="+field)
		if err != nil {
			return nil, err
		}
		if _, err := parseNVIDIA(out); err != nil {
			return nil, lacking("this GPU tells no power: %w", err)
		}
	}
	cmd := exec.Command(nvidiaSMI, "-i", gpu, "--query-gpu="+field, "--format=csv,noheader,nounits",
		"--loop-ms="+strconv.FormatInt(nvidiaInterval.Milliseconds(), 10))
	// However it was named, it is the one with this UUID.
	uuid, err := nvidiaOnce(ctx, "-i", gpu, "--query-gpu=uuid")
	if err != nil {
		return nil, err
	}
	return startProcess(Info{Name: "nvml:" + gpu, Of: named("gpu", "", strings.TrimSpace(uuid)), Scope: GPU, Interval: nvidiaInterval,
		Resolution: 0.01, Latency: late}, cmd, parseNVIDIA)
}

// parseNVIDIA reads a line of --format=csv,noheader,nounits. A GPU that cannot
// tell says [N/A], or [Not Supported], or [Unknown Error].
func parseNVIDIA(line string) (float64, error) {
	return parseWatts(strings.TrimSpace(line))
}

type nvidiaGPU struct{ index, uuid, name string }

func listNVIDIA(ctx context.Context) ([]nvidiaGPU, error) {
	out, err := nvidiaOnce(ctx, "--query-gpu=index,uuid,name")
	if err != nil {
		return nil, err
	}
	found := parseNVIDIAList(out)
	if len(found) == 0 {
		return nil, lacking("%s lists no GPU", nvidiaSMI)
	}
	return found, nil
}

func parseNVIDIAList(out string) []nvidiaGPU {
	var found []nvidiaGPU
	for line := range strings.Lines(out) {
		f := strings.SplitN(strings.TrimSpace(line), ", ", 3)
		if len(f) == 3 {
			found = append(found, nvidiaGPU{f[0], f[1], f[2]})
		}
	}
	return found
}

// nvidiaLacks are the exit codes of nvidia-smi that say that the GPU, its driver or the
// right to ask is not there (nvidia-smi(1)), or a library of another version than the
// driver's (18, as NVML numbers it). With others, such as that of a GPU that fell off the
// bus, it has failed.
var nvidiaLacks = []int{2, 3, 4, 6, 9, 12, 13, 18}

// nvidiaOnce asks once; a driver that has to wake its GPUs up takes seconds.
func nvidiaOnce(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	said := &tail{}
	cmd := exec.CommandContext(ctx, nvidiaSMI, append(args, "--format=csv,noheader,nounits")...)
	cmd.Stderr = said
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", lacking("there is no %s on this host's path; it comes with NVIDIA's driver", nvidiaSMI)
	}
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && (!ran || ctx.Err() != nil) {
		return "", fmt.Errorf("%s: %w", nvidiaSMI, errors.Join(err, ctx.Err()))
	}
	if err == nil {
		return string(out), nil
	}
	// What is wrong it says on stdout.
	err = fmt.Errorf("%s: %w: %s%s", nvidiaSMI, err, strings.Join(strings.Fields(string(out)), " "), said.text())
	if slices.Contains(nvidiaLacks, cmd.ProcessState.ExitCode()) {
		return "", lacking("%w", err)
	}
	return "", err
}

func findNVIDIA() ([]Found, error) {
	gpus, err := listNVIDIA(context.Background())
	if err != nil {
		return nil, err
	}
	var found []Found
	for _, g := range gpus {
		found = append(found, Found{Meter: "nvml:" + g.index, Scope: GPU, About: g.name + ", watts"})
	}
	return found, nil
}

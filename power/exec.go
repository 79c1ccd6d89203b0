package power

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// openExec runs a shell command that prints watts, a number a line, as they
// come. What the watts are of is its user's to know.
func openExec(command string) (Meter, error) {
	if strings.TrimSpace(command) == "" {
		return nil, fmt.Errorf("%w: exec: wants a command that prints watts, a number a line", ErrSpec)
	}
	// Of the command only the first word is told: a secret may be in the rest,
	// and a receiver's record goes to the sender.
	words := strings.Fields(command)
	name := words[0]
	if len(words) > 1 {
		name += " …"
	}
	return startProcess(Info{Name: "exec:" + name, Scope: Other}, exec.Command("/bin/sh", "-c", command), parseWatts)
}

// parseWatts reads a line with one number.
func parseWatts(line string) (float64, error) {
	w, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not a number of watts", ErrNoValue, clip(line))
	}
	return w, nil
}

// clip keeps a meter's words short in errors.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

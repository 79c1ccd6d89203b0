package ask

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/flags.md anew")

// docs/flags.md is the table as it is.
func TestDocumented(t *testing.T) {
	const path = "../../docs/flags.md"
	var b strings.Builder
	b.WriteString(`# What can be said of a run

Each row is a flag of rx, tx and local and, without its dashes, a key of an
experiment's file, under base or as an axis. "raw" is a flag that a receiver has
a say in with --raw alone; without, the sender decides. A flag with a key is
recorded under it among the settings that tell a cell from others; what the others
come to is recorded by end (engine, options, CPUs, settings made) or is not of the
cell.

| flag | rx | tx | local | experiment | key | what it is |
|---|---|---|---|---|---|---|
`)
	uses := map[Use]string{Obeyed: "yes", Absent: "", Refused: "", RawOnly: "raw"}
	for _, f := range Fields() {
		name := "`--" + f.Name + "`"
		if f.Short != "" {
			name = "`-" + f.Short + "`, " + name
		}
		key := f.Record
		if key != "" {
			key = "`" + key + "`"
		}
		if v := f.Value(New()).Type(); v != "bool" {
			name += " " + v
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", name, uses[f.InRX], uses[f.InTX], uses[f.InLocal], uses[f.InSpec], key,
			strings.ReplaceAll(f.Help, "|", `\|`))
	}
	want := b.String()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("docs/flags.md is not of this table (%v): go test ./experiment/ask -run Documented -update", err)
	}
}

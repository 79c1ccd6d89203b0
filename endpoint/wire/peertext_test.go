package wire

import (
	"strings"
	"testing"
	"unicode"

	"zcbench/internal/fault"
)

// TestPeersWords: what a peer says of itself and of its failures can drive no
// terminal.
func TestPeersWords(t *testing.T) {
	const words = "no\x1b[2J\x1b]0;x\aroom\rhere\u202e\u009b1m"
	texts := []string{
		(&failure{Kind: fault.Denied, Text: words}).Err().Error(),
		(&failure{Kind: "strange", Text: words}).Err().Error(),
		VersionError(Hello{Version: words}, "1").Error(),
		Clip(words),
	}
	for _, text := range texts {
		if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != unicode.ReplacementChar }); i >= 0 {
			t.Errorf("%q", text)
		}
		if !strings.Contains(text, "room") {
			t.Errorf("%q says nothing", text)
		}
	}
}

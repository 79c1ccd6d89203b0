package ringcfg

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"zcbench/internal/genl/ethtool"
)

// rss.table and rss.key are the interface's own; rss.context-N is the table of
// another context, for flow rules that name it, and "" removes it.

func readRSS(h *host, to Settings) error {
	contexts, err := h.eth.RSSContexts(h.iface)
	if err != nil {
		return err
	}
	for _, r := range contexts {
		name := "rss.table"
		if r.Context != 0 {
			name = fmt.Sprintf("rss.context-%d", r.Context)
		}
		if len(r.Indir) > 0 {
			to[name] = joinQueues(r.Indir)
		}
		if r.Context == 0 && len(r.Key) > 0 {
			to["rss.key"] = hex.EncodeToString(r.Key)
		}
	}
	return nil
}

func writeRSS(h *host, set Settings) error {
	for _, name := range set.names() {
		if err := h.writeRSS(name, set[name]); err != nil {
			return err
		}
	}
	return nil
}

func (h *host) writeRSS(name, value string) error {
	if name == "rss.key" {
		key, err := hex.DecodeString(value)
		if err != nil {
			return usage("%s: %w", name, err)
		}
		return h.eth.SetKey(h.iface, 0, key)
	}
	table, err := splitQueues(name, value)
	if err != nil {
		return err
	}
	if err := h.queuesThere(name, table); err != nil {
		return err
	}
	if name == "rss.table" {
		// A table that is the default spread is written as a reset: the
		// kernel then lets it follow the number of channels again, as it
		// does until somebody writes one.
		if n, err := h.rxQueues(); err == nil && evenSpread(table, n) {
			table = nil
		}
		return h.eth.SetIndir(h.iface, 0, table)
	}
	id, err := strconv.ParseUint(strings.TrimPrefix(name, "rss.context-"), 10, 32)
	if err != nil || id == 0 {
		return missing(name)
	}
	context := uint32(id)
	if len(table) == 0 {
		return h.eth.DeleteRSS(h.iface, context)
	}
	contexts, err := h.eth.RSSContexts(h.iface)
	if err != nil {
		return err
	}
	for _, r := range contexts {
		if r.Context == context {
			return h.eth.SetIndir(h.iface, context, table)
		}
	}
	return h.eth.CreateRSS(h.iface, context, table)
}

// parseRSS accepts "equal N" beside a list, the first N queues in turn, and
// repeats a list until it fills the driver's table, as the kernel would.
func parseRSS(h *host, now Settings, name, value string) (string, error) {
	if name == "rss.key" {
		return parseKey(h.iface, now[name], value)
	}
	if value == "" {
		return value, nil
	}
	whole, err := splitQueues("rss.table", now["rss.table"])
	if err != nil {
		return "", err
	}
	var list []uint32
	if n, ok := strings.CutPrefix(value, "equal "); ok {
		queues, err := strconv.ParseUint(n, 10, 16)
		if err != nil || queues == 0 {
			return "", fmt.Errorf("%s: %q is not a number of queues", name, n)
		}
		for q := range uint32(queues) {
			list = append(list, q)
		}
		for len(list) < len(whole) {
			list = append(list, list[len(list)-int(queues)])
		}
		list = list[:len(whole)]
	} else if list, err = splitQueues(name, value); err != nil {
		return "", err
	}
	if len(list) == 0 || len(whole)%len(list) != 0 {
		return "", fmt.Errorf("%s: %d queues do not fill the driver's table of %d evenly", name, len(list), len(whole))
	}
	for size := len(list); len(list) < len(whole); {
		list = append(list, list[len(list)-size])
	}
	return joinQueues(list), nil
}

// parseKey takes a key as ethtool shows it, too. The driver's own tells how long one
// is.
func parseKey(iface, now, value string) (string, error) {
	key, err := hex.DecodeString(strings.ReplaceAll(value, ":", ""))
	if err != nil || 2*len(key) != len(now) {
		return "", fmt.Errorf("rss.key of %s is %d bytes in hexadecimal (%d digits), not %q", iface, len(now)/2, len(now), value)
	}
	return hex.EncodeToString(key), nil
}

// queuesThere refuses a table that names queues that are not there, of which the
// kernel says only that it is invalid.
func (h *host) queuesThere(name string, table []uint32) error {
	n, err := h.rxQueues()
	if err != nil || n == 0 || len(table) == 0 {
		return nil // the kernel has the last word
	}
	if last := slices.Max(table); int(last) >= n {
		return usage("%s: %s has %d receive queues, from 0 on, and no queue %d (channels sets how many)", name, h.iface, n, last)
	}
	return nil
}

// evenSpread says whether a table is what drivers begin with.
func evenSpread(table []uint32, queues int) bool {
	for i, q := range table {
		if int(q) != i%queues {
			return false
		}
	}
	return len(table) > 0
}

// rxQueues is the number of receive queues.
func (h *host) rxQueues() (int, error) {
	v, err := h.eth.Channels(h.iface)
	if err != nil {
		return 0, err
	}
	return receiveQueues(v), nil
}

func receiveQueues(v ethtool.Values) int { return int(v["combined-count"] + v["rx-count"]) }

func joinQueues(table []uint32) string {
	var b strings.Builder
	for i, q := range table {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatUint(uint64(q), 10))
	}
	return b.String()
}

func splitQueues(name, value string) ([]uint32, error) {
	var table []uint32
	for _, word := range strings.Fields(value) {
		q, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a queue", name, word)
		}
		table = append(table, uint32(q))
	}
	return table, nil
}

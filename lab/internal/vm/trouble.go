package vm

import "regexp"

// bad matches what a healthy kernel never logs.
var bad = regexp.MustCompile(`\b(BUG|WARNING|KASAN|UBSAN|KFENCE): |\bOops\b|kernel BUG at|general protection fault|` +
	`Kernel panic|unregister_netdevice: waiting for|page_pool_release_retry|refcount_t:|` +
	`(list_add|list_del) corruption|blocked for more than|rcu: INFO:|possible recursive locking|DMA-API:`)

// follow is how many lines after a bad one are worth reading.
const follow = 30

// Trouble returns the bad lines of a kernel log, each with what follows it.
func Trouble(log []string) []string {
	var out []string
	show := 0
	for _, line := range log {
		if bad.MatchString(line) {
			show = follow
		}
		if show > 0 {
			out = append(out, line)
			show--
		}
	}
	return out
}

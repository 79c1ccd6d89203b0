package egress

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// packetFile lists the packet sockets of the calling thread's network namespace.
const packetFile = "/proc/thread-self/net/packet"

// Taps names the programs that see every packet of an interface, as tcpdump and
// dhclient do: for each packet sent by reference the kernel then makes a copy
// (dev_queue_xmit_nit), which it reports.
func Taps(iface string) ([]string, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", iface, err)
	}
	b, err := os.ReadFile(packetFile)
	if err != nil {
		return nil, fmt.Errorf("list packet sockets: %w", err)
	}
	inodes := tapping(string(b), i.Index)
	if len(inodes) == 0 {
		return nil, nil
	}
	owners := map[string]string{}
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		inode, ok := strings.CutPrefix(target(f), "socket:[")
		if inode = strings.TrimSuffix(inode, "]"); ok && owners[inode] == "" {
			pid := strings.Split(f, "/")[2]
			name, err := os.ReadFile("/proc/" + pid + "/comm")
			if err == nil {
				owners[inode] = fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
			}
		}
	}
	var names []string
	for _, inode := range inodes {
		name := owners[inode]
		if name == "" {
			name = "a program of another user or container"
		}
		names = append(names, name)
	}
	return names, nil
}

func target(link string) string {
	s, err := os.Readlink(link)
	if err != nil {
		return "" // closed meanwhile, or not ours to see
	}
	return s
}

// tapping gives the inodes of sockets that take every protocol of an interface,
// or of all: those of one protocol see nothing that is sent.
func tapping(text string, index int) (inodes []string) {
	const all = "0003" // ETH_P_ALL
	for _, line := range strings.Split(text, "\n") {
		// sk RefCnt Type Proto Iface R Rmem User Inode
		f := strings.Fields(line)
		if len(f) < 9 || f[3] != all || f[5] != "1" {
			continue
		}
		if n, err := strconv.Atoi(f[4]); err == nil && (n == 0 || n == index) {
			inodes = append(inodes, f[8])
		}
	}
	return inodes
}

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcbench/lab/internal/wire"
)

// kernelLog forwards /dev/kmsg to the host, line by line.
type kernelLog struct {
	f     *os.File
	marks chan string
	n     int
}

const markPrefix = "zclab: mark "

func watchKernelLog(w *wire.Writer) (*kernelLog, error) {
	f, err := os.OpenFile("/dev/kmsg", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	k := &kernelLog{f: f, marks: make(chan string, 16)}
	go func() {
		buf := make([]byte, 8192)
		for {
			n, err := f.Read(buf)
			if errors.Is(err, unix.EPIPE) {
				continue // the log wrapped; go on with what is there
			}
			if err != nil {
				return
			}
			text := kmsgText(string(buf[:n]))
			if mark, ok := strings.CutPrefix(text, markPrefix); ok {
				k.marks <- mark
				continue
			}
			if w.Send(wire.Kmsg, []byte(text)) != nil {
				return
			}
		}
	}()
	return k, nil
}

// kmsgText returns the message of a record, "prio,seq,usec,flags;text\n" and
// lines with details after that.
func kmsgText(record string) string {
	_, text, _ := strings.Cut(record, ";")
	text, _, _ = strings.Cut(text, "\n")
	return text
}

// flush returns when all that was in the log before has been sent.
func (k *kernelLog) flush() error {
	k.n++
	want := fmt.Sprint(k.n)
	if _, err := k.f.WriteString(markPrefix + want + "\n"); err != nil {
		return fmt.Errorf("write /dev/kmsg: %w", err)
	}
	deadline := time.After(10 * time.Second)
	for {
		select {
		case got := <-k.marks:
			if got == want {
				return nil
			}
		case <-deadline:
			return errors.New("the kernel log does not come to an end")
		}
	}
}

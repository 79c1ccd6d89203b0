package endpoint

import (
	"errors"
	"testing"
)

func TestPerFlow(t *testing.T) {
	broken := errors.New("broken")
	s := PerFlow(3, func(i int) (Worker, error) {
		if i == 2 {
			return nil, broken
		}
		return nil, nil
	})
	if s.Workers() != 3 {
		t.Errorf("%d workers", s.Workers())
	}
	for i, want := range []error{nil, nil, broken} {
		if _, err := s.Worker(i); err != want {
			t.Errorf("worker %d: %v", i, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

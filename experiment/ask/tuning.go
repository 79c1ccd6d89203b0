package ask

import (
	"zcbench/results"
	"zcbench/ringcfg"
)

// want is the state that the NIC and host of each end shall have for the run; it is
// put back afterwards. Single settings override profiles, and those of one end those
// of both.
func (r *Run) want() (results.Pair[ringcfg.Want], error) {
	var w results.Pair[ringcfg.Want]
	base, err := ringcfg.LoadProfiles(r.profiles)
	if err != nil {
		return w, bad("%w", err)
	}
	for _, end := range []struct {
		to  *ringcfg.Want
		own []string
	}{{&w.RX, r.rxSet}, {&w.TX, r.txSet}} {
		end.to.Override(base)
		for _, sets := range [][]string{r.set, end.own} {
			more, err := ringcfg.ParseSets(sets)
			if err != nil {
				return w, bad("%w", err)
			}
			end.to.Override(more)
		}
	}
	return w, nil
}

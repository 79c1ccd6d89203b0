# The lab: a VM with a pair of software NICs; see lab/README.md.
#
# CMD is run in the VM by its shell; without it there is a shell to use.
# KERNEL picks a version that the distribution offers, or a bzImage; LIKE the
# driver that the pair answers as, or a capture; NIC one of QEMU's NICs for it.

.PHONY: lab lab-prepare soak soak-like test-kernels test-nics

ZCLAB = bin/zclab $(if $(KERNEL),-kernel $(KERNEL)) $(if $(LIKE),-like "$(LIKE)") $(if $(NIC),-nic $(NIC)) \
	-add bin/zcbench:/usr/bin/zcbench -add experiments:/experiments

bin/zclab: $(SOURCES)
	CGO_ENABLED=0 $(BUILD) -o $@ ./lab/zclab

lab-prepare: bin/zclab bin/zcbench
	$(ZCLAB) prepare

# As it was typed: a $ in it is the guest's shell's.
override CMD := $(value CMD)
export CMD
lab: bin/zclab bin/zcbench
	@$(ZCLAB) run $(if $(CMD),sh -c "$$CMD")

# Ten minutes of traffic with everything changing under it, 200 killed runs whose
# settings must come back, 10 GiB validated through devmem and through zcrx, and
# soak-like; make test has a shorter form of each.
SOAK ?= 10m
soak: bin/zclab bin/zcbench
	$(ZCLAB) -env ZCBENCH_SOAK=$(SOAK) -test-timeout 2h -run TestSoak test ./lab/labtest
	$(ZCLAB) -env ZCBENCH_SOAK=$(SOAK) -test-timeout 2h -run 'Killed$$|TestLabDevmem$$|TestLabZCRX$$' test ./ringcfg ./rx ./cmd/zcbench
	$(MAKE) soak-like LIKE=

# On the pair as each driver: what zcbench probe says, every pair of engines, settings
# made and put back, and 20 killed commands. LIKE picks one of them, KERNEL another kernel.
soak-like: bin/zclab bin/zcbench
	@failed=; for like in $(or $(LIKE),mlx5 bnxt bnxt-noagg fbnic gve ice); do \
		echo "=== LIKE $$like"; \
		$(ZCLAB) -module-args like=$$like -run '^TestProbeTellsTheTruth$$' test ./lab/labtest || failed="$$failed $$like"; \
		$(ZCLAB) -env ZCBENCH_SOAK=$(SOAK) -test-timeout 1h -run "^TestLabLike\$$/^$$like\$$" test ./cmd/zcbench || failed="$$failed $$like"; \
	done; [ -z "$$failed" ] || { echo "failed on$$failed"; exit 1; }

# Whether zcbench probe tells the truth on kernels old and new.
test-kernels: bin/zclab bin/zcbench
	$(ZCLAB) -run TestProbe kernels ./lab/labtest

# Settings, killed processes, runs and refusals over NICs whose drivers others wrote;
# NIC picks one of them.
test-nics: bin/zclab bin/zcbench
	@failed=; for nic in $(or $(NIC),igb e1000e vmxnet3 virtio); do \
		echo "=== NIC $$nic"; \
		$(ZCLAB) -nic $$nic -test-timeout 1h -run 'TestNIC|TestProbeTellsTheTruth|TestLabEverySetting|TestLabKilled' \
			test ./cmd/zcbench ./lab/labtest ./ringcfg || failed="$$failed $$nic"; \
	done; [ -z "$$failed" ] || { echo "failed on$$failed"; exit 1; }

"""The playbook: tables of byte dialogues for the life of a request, on fakes of the loop, the clock and the network."""

#!/bin/sh
# As the official image of MariaDB has it, but always the same question: can one connect, by TCP, once all is initialised?
# A refused password is an answer, too.
exec mysqladmin --no-defaults --protocol=TCP --host=127.0.0.1 --connect-timeout=3 --user=healthcheck ping

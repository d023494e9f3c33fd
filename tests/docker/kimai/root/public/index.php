<?php // a stand-in: nobody runs this

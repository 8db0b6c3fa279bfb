"""What the paper has published, as far as it is at hand: nothing here is guessed.

K. Kourai, T. Azumi, S. Chiba: "A Self-protection Mechanism against Stepping-stone Attacks for IaaS Clouds", UIC-ATC
2012, pages 539-546; and their "Efficient and Fine-Grained VMM-Level Packet Filtering for Self-Protection", IJARAS 5(2),
2014. At hand are the two abstracts, and of the text the page's size and the filter's run time.
"""

NOT_AT_HAND = None

DEGRADATION_MAX = {
    "UIC-ATC 2012, abstract": "less than 13 % in usual cases",
    "IJARAS 2014, abstract": "usually less than 16 %",
}
MODULE_MEAN_US, MODULE_MAX_US = 19, 178
REQUEST_TIME_MS = NOT_AT_HAND  # Fig. 4
SOCKETS_US = NOT_AT_HAND  # Figs. 5, 6
CACHE = NOT_AT_HAND  # Table 1
PROCESS = NOT_AT_HAND  # Fig. 7
